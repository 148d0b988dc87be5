// A child process for tests that drive it from outside.
#pragma once

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <new>

namespace perdure::testing {

/// Runs `body` in a child, which is killed at the end. Both see `shared`.
class Child {
 public:
  struct Shared {
    std::atomic<uint64_t> step{0};
    std::atomic<uint64_t> word{0};
    std::atomic<uint64_t> faults{0};
  };
  explicit Child(const std::function<void(Shared&)>& body) {
    void* memory = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    shared_ = new (memory) Shared;
    pid_ = ::fork();
    if (pid_ < 0) std::abort();
    if (pid_ == 0) {
      body(*shared_);
      for (;;) ::pause();
    }
  }
  Child(const Child&) = delete;
  ~Child() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, __WALL);
    ::munmap(shared_, sizeof(Shared));
  }
  pid_t pid() const { return pid_; }
  Shared& shared() { return *shared_; }
  /// Waits until the child has come that far; false when it does not within ten seconds.
  bool reaches(uint64_t step) const {
    for (int tries = 0; tries < 10000 && shared_->step < step; ++tries) ::usleep(1000);
    return shared_->step >= step;
  }

 private:
  pid_t pid_;
  Shared* shared_;
};

}  // namespace perdure::testing
