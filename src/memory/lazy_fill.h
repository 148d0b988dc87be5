// Memory whose pages come when they are touched, and the rest of them in the background.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/result.h"
#include "memory/page_runs.h"
#include "store/store.h"

namespace perdure::memory {

/// Fills address spaces with the pages of a view while their processes run: a page that is touched comes at once, the newest of the others first. What the
/// processes give back, move or hand to their children meanwhile is heard from the kernel, which lets them go on only then. A page that the store does not
/// have reads as zero. When the store fails, whoever waits for a page waits on: the processes are to be ended then.
class LazyFill {
 public:
  struct Range {
    uint64_t start;  ///< addresses
    uint64_t end;
  };

  /// `view` outlives it.
  static Result<std::unique_ptr<LazyFill>> create(const store::View& view);
  LazyFill(const LazyFill&) = delete;
  /// The processes are gone, or all is filled.
  ~LazyFill();

  /// Takes a fresh userfaultfd of an address space, and registers `ranges`, private anonymous memory that is empty. Before begin().
  Result<void> add(store::SpaceId space, Fd userfaultfd, std::span<const Range> ranges);
  /// Serves from here on whoever touches a page. Missing pages stay missing until process `init` is dead, even if this process is killed: nobody is to
  /// see zeros in their place.
  Result<void> begin(pid_t init);
  /// Begins to fill what nobody has touched.
  void fill_rest();

  /// Whether every page is where it belongs.
  bool is_filled() const { return is_filled_; }
  /// Why not all can be filled.
  std::optional<Error> error();

  /// The userfaultfds by space, in the order in which they were added. Those of children are not among them.
  std::vector<std::pair<store::SpaceId, int>> userfaultfds();
  /// When all is filled, and the process stands still: the pages that are now as the view has them.
  Result<std::vector<PageRun>> unchanged_pages(store::SpaceId space, pid_t host_pid);
  /// When all is filled: lets go of the memory.
  void end();

 private:
  /// A stretch of addresses that holds, or is to hold, the pages from `first_page` on.
  struct Piece {
    uint64_t start;
    uint64_t end;
    uint64_t first_page;
  };
  struct Space {
    store::SpaceId id;
    Fd userfaultfd;
    bool is_child = false;
    bool is_gone = false;
    std::vector<Piece> pieces{};      ///< ascending
    std::vector<uint64_t> waiting{};  ///< addresses that somebody waits for
  };
  enum class Put : uint8_t { done, again, gone };

  LazyFill(const store::View& view, Fd ready, Fd stop) : view_(view), ready_(std::move(ready)), stop_(std::move(stop)) {}
  void serve();
  void read_events(Space& space);
  void take_fork(Space& parent, Fd child);
  bool serve_waiting(Space& space);
  Put serve_page(Space& space, uint64_t address);
  Result<void> fill_extent(const store::View::Extent& extent);
  Put put_extent(Space& space, const store::View::Extent& extent);
  Put put(Space& space, uint64_t address, std::span<const std::byte> contents);
  Put put_zero(Space& space, uint64_t address);
  std::unique_lock<std::mutex> lock_urgently();
  Result<void> watch(Space& space);
  void fail(Error error);
  static const Piece* piece_at(const Space& space, uint64_t address);
  /// Cuts [start, end) out; returns what was there.
  static std::vector<Piece> cut(std::vector<Piece>& pieces, uint64_t start, uint64_t end);

  const store::View& view_;
  Fd ready_;  ///< epoll
  Fd stop_;   ///< eventfd
  Fd keeper_socket_;
  pid_t keeper_ = 0;
  /// Held from reading an event until it is heeded, and while a page is put: no page comes after the kernel was told to go on with taking it away.
  std::mutex mutex_;
  std::atomic<int> urgent_{0};  ///< who wants the mutex for somebody that waits
  std::list<Space> spaces_;
  std::atomic<bool> is_filled_{false};
  std::atomic<bool> stopping_{false};
  std::optional<Error> error_;
  AlignedBytes near_;  ///< the server's
  std::thread server_;
  std::thread filler_;
};

}  // namespace perdure::memory
