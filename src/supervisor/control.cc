#include "supervisor/control.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <future>
#include <list>
#include <memory>
#include <system_error>

namespace perdure::supervisor {

namespace {

constexpr size_t kMessageMax = 4 << 20;

struct SocketAddress {
  Fd directory;
  sockaddr_un address{};
};

/// The address of the socket at `path`, by a descriptor of its directory: a socket's address holds 107 characters, a path 4095.
Result<SocketAddress> address_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  SocketAddress found{.directory = Fd(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC))};
  if (!found.directory) return system_error("open " + directory);
  found.address.sun_family = AF_UNIX;
  const std::string text = fmt::format("/proc/self/fd/{}/{}", found.directory.get(), path.substr(slash + 1));
  if (text.size() >= sizeof found.address.sun_path) return failure(fmt::format("the name of the socket '{}' is too long", path));
  text.copy(found.address.sun_path, text.size());
  return found;
}

/// Reads until the peer shuts down its sending side.
Result<std::string> receive_all(int socket) {
  std::string text;
  std::array<char, 65536> buffer;
  for (;;) {
    const ssize_t got = ::recv(socket, buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error("receive on the control socket");
    if (got == 0) return text;
    text.append(buffer.data(), static_cast<size_t>(got));
    if (text.size() > kMessageMax) return failure("a message on the control socket is too large");
  }
}

Result<void> send_all(int socket, const std::string& text) {
  for (size_t at = 0; at < text.size();) {
    const ssize_t put = ::send(socket, text.data() + at, text.size() - at, MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return system_error("send on the control socket");
    at += static_cast<size_t>(put);
  }
  ::shutdown(socket, SHUT_WR);
  return {};
}

/// EAGAIN: the supervisor kept one of the steps waiting for longer than `patience`.
Result<std::string> exchange(const std::string& path, const std::string& request, std::chrono::seconds patience) {
  const SocketAddress at = TRY(address_of(path));
  const Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return system_error("make a socket");
  const timeval limit{patience.count(), 0};
  setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&at.address), sizeof at.address) != 0) return system_error("connect to " + path);
  TRY(send_all(socket.get(), request));
  return receive_all(socket.get());
}

/// Text that is not UTF-8 (a path, a process's name) must not end a process.
std::string dumped(const nlohmann::json& value) { return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace); }

}  // namespace

ControlServer::ControlServer(std::string path, Fd listener, Handler handler)
    : path_(std::move(path)), listener_(std::move(listener)), stop_(eventfd(0, EFD_CLOEXEC)), handler_(std::move(handler)) {
  thread_ = std::thread([this] { run(); });
}

Result<std::unique_ptr<ControlServer>> ControlServer::start(const std::string& path, Handler handler) {
  const SocketAddress at = TRY(address_of(path));
  Fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listener) return system_error("make the control socket");
  ::unlink(path.c_str());
  const mode_t old_mask = ::umask(0177);
  const int bound = ::bind(listener.get(), reinterpret_cast<const sockaddr*>(&at.address), sizeof at.address);
  ::umask(old_mask);
  constexpr int kBacklog = 16;
  if (bound != 0 || ::listen(listener.get(), kBacklog) != 0) return system_error("listen on " + path);
  return std::unique_ptr<ControlServer>(new ControlServer(path, std::move(listener), std::move(handler)));
}

ControlServer::~ControlServer() {
  const uint64_t one = 1;
  (void)!::write(stop_.get(), &one, sizeof one);
  thread_.join();
  ::unlink(path_.c_str());
}

/// One that waits (for a checkpoint to be durable, say) keeps no other waiting, unless there are very many.
void ControlServer::run() {
  constexpr size_t kConnectionsMax = 16;
  std::list<std::future<void>> served;
  for (;;) {
    std::array<pollfd, 2> wanted{{{listener_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}}};
    if (::poll(wanted.data(), wanted.size(), -1) < 0) continue;
    if (wanted[1].revents != 0) return;
    const auto connection = std::make_shared<Fd>(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!*connection) continue;
    served.remove_if([](const auto& one) { return one.wait_for(std::chrono::seconds(0)) == std::future_status::ready; });
    if (served.size() >= kConnectionsMax) served.pop_front();
    try {
      served.push_back(std::async(std::launch::async, [this, connection] { serve(*connection); }));
    } catch (const std::system_error&) {
      serve(*connection);
    }
  }
}

void ControlServer::serve(const Fd& connection) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || (peer.uid != geteuid() && peer.uid != 0)) return;
  constexpr timeval kPatience{5, 0};
  setsockopt(connection.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  const auto text = receive_all(connection.get());
  if (!text) return;
  const auto request = nlohmann::json::parse(*text, nullptr, false);
  nlohmann::json reply;
  if (!request.is_object() || !request.contains("command") || !request["command"].is_string()) {
    reply["error"] = "the request is not a JSON object with a command";
  } else {
    reply = handler_(request);
  }
  (void)send_all(connection.get(), dumped(reply));
}

Result<nlohmann::json> call_supervisor(const std::string& path, const nlohmann::json& request, std::chrono::seconds patience) {
  const auto text = exchange(path, dumped(request), patience);
  if (!text) {
    // A socket's timeout ends as EAGAIN.
    if (text.error().error_number != EAGAIN) return std::unexpected(text.error());
    return std::unexpected(Error{fmt::format("the supervisor did not answer within {} s", patience.count()), ETIMEDOUT});
  }
  auto reply = nlohmann::json::parse(*text, nullptr, false);
  if (!reply.is_object()) return failure("the supervisor went away before it replied");
  if (reply.contains("error")) return failure(reply["error"].get<std::string>());
  return reply;
}

}  // namespace perdure::supervisor
