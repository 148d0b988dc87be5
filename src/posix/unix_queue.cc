#include "posix/unix_queue.h"

#include <sys/socket.h>

#include <cstring>

namespace perdure::posix {

namespace {

constexpr size_t kLargestDescriptorCount = 253;  // SCM_MAX_FD

std::string bytes_of(const uint8_t* bytes, size_t size, size_t capacity) {
  return {reinterpret_cast<const char*>(bytes), std::min(size, capacity)};
}

/// Peeks one message: its descriptors.
Result<std::vector<Fd>> peek_once(int socket) {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kLargestDescriptorCount * sizeof(int)) + CMSG_SPACE(4096)> control;
  char byte = 0;
  iovec vector{&byte, 1};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  if (recvmsg(socket, &message, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0) return system_error("peek at a UNIX socket's message");
  std::vector<Fd> descriptors;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t at = 0; at < count; ++at) {
      int number = -1;
      std::memcpy(&number, CMSG_DATA(header) + at * sizeof(int), sizeof number);
      descriptors.emplace_back(number);
    }
  }
  return descriptors;
}

}  // namespace

Result<std::vector<Fd>> peek_descriptors(int socket, const SocketQueue& queue, const SocketMessageRecord& message) {
  int former_offset = -1;
  socklen_t size = sizeof former_offset;
  if (getsockopt(socket, SOL_SOCKET, SO_PEEK_OFF, &former_offset, &size) != 0) return system_error("ask for a peek offset");
  int offset = 0;
  size_t attempts = 1;  // an empty message at the offset comes first, once each
  for (const SocketMessageRecord* before : queue.messages) {
    if (before == &message) break;
    offset += static_cast<int>(before->length - before->consumed);
    attempts += before->length == before->consumed ? 1 : 0;
  }
  Result<std::vector<Fd>> descriptors = std::vector<Fd>{};
  for (; attempts > 0 && descriptors && descriptors->size() != message.file_count; --attempts) {
    if (setsockopt(socket, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset) != 0) return system_error("set a peek offset");
    descriptors = peek_once(socket);
  }
  if (setsockopt(socket, SOL_SOCKET, SO_PEEK_OFF, &former_offset, sizeof former_offset) != 0) return system_error("set a peek offset back");
  return descriptors;
}

void record_messages(const SocketQueue& queue, bool stream, CaptureContext& context, google::protobuf::RepeatedPtrField<UnixMessage>& messages) {
  for (const SocketMessageRecord* source : queue.messages) {
    if (stream && source->length == source->consumed) continue;
    UnixMessage& message = *messages.Add();
    const auto data = message_bytes(*source).subspan(source->consumed);
    message.set_data(data.data(), data.size());
    message.set_sender(source->sender);
    message.set_sender_name(bytes_of(source->sender_name, source->sender_name_length, sizeof source->sender_name));
    message.set_urgent(source->is_urgent != 0);
    if (source->sender_host_pid != 0) {
      message.mutable_credentials()->set_pid(static_cast<int>(source->sender_pid));
      message.mutable_credentials()->set_uid(source->sender_uid);
      message.mutable_credentials()->set_gid(source->sender_gid);
    }
    for (const FileRecord* file : queue.files.files) {
      if (file->message == source->buffer) message.add_open_files(context.file_object(file->file));
    }
  }
}

void record_peer_credentials(const SocketRecord& socket, PeerCredentials* credentials) {
  credentials->set_pid(static_cast<int>(socket.peer_pid));
  credentials->set_uid(socket.peer_uid);
  credentials->set_gid(socket.peer_gid);
}

Result<void> record_connections(const SocketQueue& queue, CaptureContext& context, UnixSocket& listener) {
  for (const SocketMessageRecord* waiting : queue.messages) {
    const SocketRecord* socket = queue.files.waiting_connections.find(waiting->connection);
    if (socket == nullptr) return failure("a connection that waits to be accepted could not be read");
    UnixConnection& connection = *listener.add_connections();
    connection.set_socket(socket->sock);
    if (socket->unix_peer_closed == 0) connection.set_client(socket->unix_peer);
    connection.set_client_name(bytes_of(socket->unix_peer_name, socket->unix_peer_name_length, sizeof socket->unix_peer_name));
    record_peer_credentials(*socket, connection.mutable_client_credentials());
    if (socket->receive_queue_length == 0) continue;
    const SocketQueue& sent = *TRY(context.socket_queue(socket->sock, nullptr));
    record_messages(sent, socket->type == SOCK_STREAM, context, *connection.mutable_messages());
  }
  return {};
}

}  // namespace perdure::posix
