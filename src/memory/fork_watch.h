// Forks of watched address spaces: the kernel makes a forking thread wait until somebody takes the child's userfaultfd.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace perdure::memory {

/// Keeps userfaultfds with UFFD_FEATURE_EVENT_FORK, and takes what each fork hands over, at once, in a thread of its own. A child that is born
/// is watched from its first instruction on: what it forks itself is not missed. Thread-safe; outlives every Watched.
class ForkWatch {
 public:
  static Result<std::unique_ptr<ForkWatch>> create();
  ForkWatch(const ForkWatch&) = delete;
  ~ForkWatch();

  /// A userfaultfd that the watch keeps, until this is destroyed.
  class Watched {
   public:
    Watched(ForkWatch& watch, uint64_t number, int userfaultfd) : watch_(&watch), number_(number), userfaultfd_(userfaultfd) {}
    Watched(Watched&& other) noexcept;
    Watched& operator=(Watched&& other) noexcept;
    ~Watched();
    uint64_t number() const { return number_; }  ///< never used again
    int userfaultfd() const { return userfaultfd_; }

   private:
    ForkWatch* watch_;  ///< null when moved from
    uint64_t number_;
    int userfaultfd_;
  };
  /// Takes the descriptor, which must not block, into keeping.
  Result<Watched> watch(Fd userfaultfd);

  /// A child, by its own userfaultfd.
  struct Fork {
    uint64_t parent;  ///< Watched::number
    Watched child;
  };
  /// The forks since the last call, in their order. Of very many only the last: the children of the others are not tracked.
  std::vector<Fork> take();
  /// Whether a watched userfaultfd had to be given up, since a fork could not be taken and would have waited for ever: its memory is not tracked
  /// any more.
  bool is_lost(const Watched& watched);

 private:
  ForkWatch(Fd ready, Fd stop);
  void serve();
  void take_events(uint64_t number);
  Result<Watched> keep(Fd userfaultfd);
  void forget(uint64_t number);

  Fd ready_;  ///< epoll
  Fd stop_;   ///< eventfd
  std::mutex mutex_;
  uint64_t last_number_ = 0;
  std::map<uint64_t, Fd> kept_;  ///< by number
  std::deque<Fork> forks_;
  std::thread thread_;
};

}  // namespace perdure::memory
