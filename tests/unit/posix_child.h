// A child process in a PID namespace of its own, for tests that look at it from outside.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <string>

#include "posix/collector.h"

namespace perdure::posix {

/// Runs `body` as process 1 of a new PID namespace; kills it, and with it all of the namespace, at the end. The body calls the function
/// that it is given once it is as the test wants it, and must not return before the test is over.
class Child {
 public:
  explicit Child(const std::function<void(const std::function<void()>&)>& body) {
    int ready[2];
    if (::pipe2(ready, O_CLOEXEC) != 0) std::abort();
    pid_ = static_cast<pid_t>(::syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, nullptr, nullptr, nullptr, nullptr));
    if (pid_ < 0) std::abort();
    if (pid_ == 0) {
      body([&] {
        if (::write(ready[1], "r", 1) != 1) ::_exit(1);
      });
      for (;;) ::pause();
    }
    ::close(ready[1]);
    char byte;
    if (::read(ready[0], &byte, 1) != 1) std::abort();
    ::close(ready[0]);
    struct stat status {};
    ::stat(("/proc/" + std::to_string(pid_) + "/ns/pid").c_str(), &status);
    namespace_inode_ = static_cast<uint32_t>(status.st_ino);
  }
  Child(const Child&) = delete;
  ~Child() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, __WALL);
  }

  pid_t pid() const { return pid_; }
  uint32_t namespace_inode() const { return namespace_inode_; }
  std::string proc(const std::string& name) const { return "/proc/" + std::to_string(pid_) + "/" + name; }

 private:
  pid_t pid_;
  uint32_t namespace_inode_ = 0;
};

/// A collector that looks at the child's namespace.
inline Collector collector_of(const Child& child) {
  auto collector = Collector::create();
  if (!collector || !collector->select_pid_namespace(child.namespace_inode())) std::abort();
  return std::move(*collector);
}

/// Waits until a thread of the child sleeps (state S).
inline void wait_until_asleep(pid_t tid) {
  for (int tries = 0; tries < 2000; ++tries) {
    char text[512]{};
    const int stat = ::open(("/proc/" + std::to_string(tid) + "/stat").c_str(), O_RDONLY);
    const ssize_t size = ::read(stat, text, sizeof(text) - 1);
    ::close(stat);
    const std::string line(text, size > 0 ? static_cast<size_t>(size) : 0);
    if (line.find(") S") != std::string::npos) return;
    ::usleep(1000);
  }
}

}  // namespace perdure::posix
