// The control socket: other commands talk to a group's supervisor through it, one JSON request and one JSON reply a connection.
#pragma once

#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "base/fd.h"
#include "base/result.h"

namespace perdure::supervisor {

/// Serves each request in a thread of its own. The handler runs there, beside others of its kind; it may block. The socket is 0600, and peers of
/// another user are refused.
class ControlServer {
 public:
  using Handler = std::function<nlohmann::json(const nlohmann::json& request)>;
  static Result<std::unique_ptr<ControlServer>> start(const std::string& path, Handler handler);
  ~ControlServer();

 private:
  ControlServer(std::string path, Fd listener, Handler handler);
  void run();
  void serve(const Fd& connection);
  std::string path_;
  Fd listener_;
  Fd stop_;
  Handler handler_;
  std::thread thread_;
};

/// How long a reply may take; but for a checkpoint, which may wait for the disk.
inline constexpr std::chrono::seconds kReplyPatience{5};
inline constexpr std::chrono::seconds kCheckpointPatience{75};

/// Sends a request to a supervisor and returns its reply. A reply that holds "error" becomes an Error. ECONNREFUSED or ENOENT: none is running;
/// ETIMEDOUT: it does not take the request, or stays silent for `patience`.
Result<nlohmann::json> call_supervisor(const std::string& path, const nlohmann::json& request, std::chrono::seconds patience = kReplyPatience);

}  // namespace perdure::supervisor
