#include <fcntl.h>
#include <fmt/format.h>
#include <linux/sockios.h>
#include <linux/un.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "linux/process.h"
#include "posix/file_kind.h"
#include "posix/kinds.h"
#include "posix/unix_queue.h"
#include "posix/unix_restore.h"

namespace perdure::posix {

namespace {

constexpr uint32_t kConnected = 1;   // TCP_ESTABLISHED: UNIX sockets use the names of TCP's states
constexpr uint32_t kListening = 10;  // TCP_LISTEN

const SocketRecord* unix_socket_of(const FileSource& source) {
  if (source.record.kind != kSocketFile) return nullptr;
  const SocketRecord* socket = source.table.sockets.find(source.record.file);
  return socket != nullptr && socket->family == AF_UNIX ? socket : nullptr;
}

bool is_bound_to_path(const SocketRecord& socket) {
  return socket.unix_name_length > sizeof(sa_family_t) && socket.unix_name[sizeof(sa_family_t)] != 0;
}

/// Where the file is that goes with the name; empty when it has been removed. The name itself may be relative, or outdated.
Result<std::string> path_of_socket(int socket) {
  const Fd file(ioctl(socket, SIOCUNIXFILE));
  if (!file) return system_error("open the file of a UNIX socket");
  std::string path = TRY(read_link(fmt::format("/proc/self/fd/{}", file.get())));
  if (path.ends_with(kDeleted)) path.clear();
  return path;
}

/// The ends of connections are found by nobody by way of their names, which they may share with a listener.
bool needs_path(const SocketRecord& socket) {
  if (!is_bound_to_path(socket) || socket.unix_path_links == 0) return false;
  return socket.type == SOCK_DGRAM || socket.state != kConnected;
}

class UnixSocketKind final : public FileKind {
 public:
  const char* name() const override { return "unix-socket"; }
  OpenFile::KindCase record_case() const override { return OpenFile::kUnixSocket; }

  bool recognizes(const FileSource& source, const CaptureContext&) const override { return unix_socket_of(source) != nullptr; }

  Result<void> capture(const FileSource& source, CaptureContext& context, OpenFile& file) const override {
    const SocketRecord& socket = *unix_socket_of(source);
    UnixSocket& record = *file.mutable_unix_socket();
    record.set_socket(socket.sock);
    record.set_type(static_cast<int>(socket.type));
    record.set_shutdown(socket.shutdown);
    record.set_error(static_cast<int>(socket.error));
    record.set_owner_uid(socket.owner_uid);
    record.set_owner_gid(socket.owner_gid);
    record.set_peek_offset(socket.peek_offset);
    if (socket.peer_credentials != 0) record_peer_credentials(socket, record.mutable_peer_credentials());
    TRY(record_names(source, socket, context, record));
    record.set_options(*TRY(context.socket_options().of(socket, false, [&] { return context.duplicate(source); })));
    record.set_listening(socket.state == kListening);
    record.set_backlog(static_cast<int>(socket.accept_queue_limit));
    if (socket.receive_queue_length == 0) return {};
    const SocketQueue& queue = *TRY(context.socket_queue(socket.sock, &source));
    if (record.listening()) return record_connections(queue, context, record);
    record_messages(queue, socket.type == SOCK_STREAM, context, *record.mutable_messages());
    return {};
  }

  Result<Fd> restore(ObjectId, const OpenFile& file, RestoreContext& context) const override {
    const uint64_t socket = file.unix_socket().socket();
    const auto made = context.unix_sockets.sockets.find(socket);
    if (made == context.unix_sockets.sockets.end()) return failure("a UNIX socket was not made");
    Fd fd = std::move(made->second);
    context.unix_sockets.sockets.erase(made);
    if (fcntl(fd.get(), F_SETFL, file.flags() & O_NONBLOCK) != 0) return system_error("set a socket's flags");
    return fd;
  }

  Result<void> connect(ObjectId, const OpenFile&, int, RestoreContext& context) const override { return fill_unix_sockets(context); }

 private:
  static Result<void> record_names(const FileSource& source, const SocketRecord& socket, CaptureContext& context, UnixSocket& record) {
    record.set_name(socket.unix_name, std::min<size_t>(socket.unix_name_length, sizeof socket.unix_name));
    record.set_connected(socket.unix_peer != 0);
    record.set_peer(socket.unix_peer);
    record.set_peer_closed(socket.unix_peer_closed != 0);
    record.set_peer_name(socket.unix_peer_name, std::min<size_t>(socket.unix_peer_name_length, sizeof socket.unix_peer_name));
    if (!needs_path(socket)) return {};
    record.set_mode(socket.unix_path_mode);
    record.set_uid(socket.unix_path_uid);
    record.set_gid(socket.unix_path_gid);
    record.set_path(TRY(context.socket_options().path_of(socket, [&]() -> Result<std::string> {
      return path_of_socket(TRY(context.duplicate(source)).get());
    })));
    return {};
  }
};

}  // namespace

const FileKind* unix_socket_kind() {
  static const UnixSocketKind kind;
  return &kind;
}

}  // namespace perdure::posix
