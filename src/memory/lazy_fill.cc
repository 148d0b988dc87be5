#include "memory/lazy_fill.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "linux/group_init.h"
#include "linux/pagemap.h"
#include "linux/process.h"
#include "linux/signal_mask.h"
#include "linux/uapi.h"
#include "linux/userfaultfd.h"

namespace perdure::memory {

namespace {

constexpr uint64_t kStopServing = UINT64_MAX;
/// So much comes with a page that is waited for.
constexpr uint64_t kPagesNear = 16;
/// So many pages are put while nobody else can be served.
constexpr uint64_t kPagesAtATime = 32;
constexpr int kRetryMs = 1;

/// A process of its own, made of nothing: it holds what was sent to the socket until `init` is dead.
[[noreturn]] void keep(int socket, int init) {
  const int lower = std::min(socket, init);
  const int upper = std::max(socket, init);
  if (lower > 0) close_range(0, static_cast<unsigned>(lower) - 1, 0);
  if (upper - lower > 1) close_range(static_cast<unsigned>(lower) + 1, static_cast<unsigned>(upper) - 1, 0);
  close_range(static_cast<unsigned>(upper) + 1, ~0u, 0);
  pollfd dead{init, POLLIN, 0};
  while (::poll(&dead, 1, -1) != 1) {
  }
  _exit(0);
}

}  // namespace

Result<std::unique_ptr<LazyFill>> LazyFill::create(const store::View& view) {
  Fd ready(::epoll_create1(EPOLL_CLOEXEC));
  Fd stop(::eventfd(0, EFD_CLOEXEC));
  epoll_event event{.events = EPOLLIN, .data = {.u64 = kStopServing}};
  if (!ready || !stop || ::epoll_ctl(ready.get(), EPOLL_CTL_ADD, stop.get(), &event) != 0) return system_error("wait for page faults");
  std::unique_ptr<LazyFill> fill(new LazyFill(view, std::move(ready), std::move(stop)));
  fill->near_ = allocate_aligned(kPagesNear * kPageSize);
  if (!fill->near_) return std::unexpected(Error{"wait for page faults", ENOMEM});
  return fill;
}

LazyFill::~LazyFill() { end(); }

void LazyFill::end() {
  stopping_ = true;
  if (filler_.joinable()) filler_.join();
  const uint64_t one = 1;
  (void)!::write(stop_.get(), &one, sizeof one);
  if (server_.joinable()) server_.join();
  spaces_.clear();
  if (keeper_ <= 0) return;
  ::kill(keeper_, SIGKILL);
  ::waitpid(keeper_, nullptr, 0);
  keeper_ = 0;
}

Result<void> LazyFill::add(store::SpaceId space, Fd userfaultfd, std::span<const Range> ranges) {
  const std::lock_guard lock(mutex_);
  Space& added = spaces_.emplace_back(Space{.id = space, .userfaultfd = std::move(userfaultfd)});
  for (const Range& range : ranges) {
    TRY(register_lazy(added.userfaultfd.get(), range.start, range.end));
    added.pieces.push_back({range.start, range.end, range.start / kPageSize});
  }
  return watch(added);
}

Result<void> LazyFill::watch(Space& space) {
  epoll_event event{.events = EPOLLIN, .data = {.ptr = &space}};
  if (::epoll_ctl(ready_.get(), EPOLL_CTL_ADD, space.userfaultfd.get(), &event) != 0) return system_error("wait for page faults");
  return {};
}

Result<void> LazyFill::begin(pid_t init) {
  const Fd process = TRY(open_pidfd(init));
  std::array<int, 2> ends;
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) return system_error("socketpair");
  keeper_socket_ = Fd(ends[0]);
  const Fd theirs(ends[1]);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  keeper_ = ::fork();
  if (keeper_ == 0) keep(theirs.get(), process.get());
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (keeper_ < 0) return system_error("fork");
  for (const auto& [space, userfaultfd] : userfaultfds()) TRY(send_descriptors(keeper_socket_.get(), std::span(&userfaultfd, 1)));
  server_ = thread_without_signals([this] { serve(); });
  return {};
}

std::vector<std::pair<store::SpaceId, int>> LazyFill::userfaultfds() {
  const std::lock_guard lock(mutex_);
  std::vector<std::pair<store::SpaceId, int>> found;
  for (const Space& space : spaces_) {
    if (!space.is_child) found.emplace_back(space.id, space.userfaultfd.get());
  }
  return found;
}

std::optional<Error> LazyFill::error() {
  const std::lock_guard lock(mutex_);
  return error_;
}

void LazyFill::fail(Error error) {
  const std::lock_guard lock(mutex_);
  if (!error_) error_ = std::move(error);
}

const LazyFill::Piece* LazyFill::piece_at(const Space& space, uint64_t address) {
  const auto piece = std::ranges::upper_bound(space.pieces, address, {}, &Piece::end);
  return piece != space.pieces.end() && piece->start <= address ? &*piece : nullptr;
}

std::vector<LazyFill::Piece> LazyFill::cut(std::vector<Piece>& pieces, uint64_t start, uint64_t end) {
  const auto part = [](const Piece& piece, uint64_t from, uint64_t to) {
    return Piece{from, to, piece.first_page + (from - piece.start) / kPageSize};
  };
  std::vector<Piece> kept, taken;
  for (const Piece& piece : pieces) {
    const uint64_t from = std::clamp(start, piece.start, piece.end);
    const uint64_t to = std::clamp(end, piece.start, piece.end);
    if (piece.start < from) kept.push_back(part(piece, piece.start, from));
    if (from < to) taken.push_back(part(piece, from, to));
    if (std::max(from, to) < piece.end) kept.push_back(part(piece, std::max(from, to), piece.end));
  }
  pieces = std::move(kept);
  return taken;
}

/// With the mutex held: the kernel lets whoever caused an event go on as soon as it is read.
void LazyFill::read_events(Space& space) {
  for (uffd_msg message{}; ::read(space.userfaultfd.get(), &message, sizeof message) == sizeof message;) {
    switch (message.event) {
      case UFFD_EVENT_PAGEFAULT: space.waiting.push_back(align_down(message.arg.pagefault.address, kPageSize)); break;
      case UFFD_EVENT_REMOVE:
      case UFFD_EVENT_UNMAP: cut(space.pieces, message.arg.remove.start, message.arg.remove.end); break;
      case UFFD_EVENT_REMAP: {
        const auto& moved = message.arg.remap;
        const auto pieces = cut(space.pieces, moved.from, moved.from + moved.len);
        cut(space.pieces, moved.to, moved.to + moved.len);
        for (const Piece& piece : pieces) space.pieces.push_back({piece.start - moved.from + moved.to, piece.end - moved.from + moved.to, piece.first_page});
        std::ranges::sort(space.pieces, {}, &Piece::start);
        break;
      }
      case UFFD_EVENT_FORK: take_fork(space, Fd(static_cast<int>(message.arg.fork.ufd))); break;
      default: break;
    }
  }
}

void LazyFill::take_fork(Space& parent, Fd child) {
  Space& added = spaces_.emplace_back(Space{.id = parent.id, .userfaultfd = std::move(child), .is_child = true, .pieces = parent.pieces});
  const int descriptor = added.userfaultfd.get();
  auto kept = keeper_ > 0 ? send_descriptors(keeper_socket_.get(), std::span(&descriptor, 1)) : Result<void>();
  if (kept) kept = watch(added);
  if (!kept && !error_) error_ = std::move(kept).error();
}

void LazyFill::serve() {
  bool is_pending = false;
  for (;;) {
    std::array<epoll_event, 16> events;
    const int count = ::epoll_wait(ready_.get(), events.data(), static_cast<int>(events.size()), is_pending ? kRetryMs : -1);
    for (int i = 0; i < count; ++i) {
      if (events[static_cast<size_t>(i)].data.u64 == kStopServing) return;
      const auto lock = lock_urgently();
      read_events(*static_cast<Space*>(events[static_cast<size_t>(i)].data.ptr));
    }
    is_pending = false;
    // Only this thread adds spaces by now, or serves them.
    for (Space& space : spaces_) is_pending |= !serve_waiting(space);
  }
}

std::unique_lock<std::mutex> LazyFill::lock_urgently() {
  ++urgent_;
  std::unique_lock lock(mutex_);
  --urgent_;
  return lock;
}

/// False when somebody is still waiting.
bool LazyFill::serve_waiting(Space& space) {
  std::erase_if(space.waiting, [&](uint64_t address) { return serve_page(space, address) != Put::again; });
  return space.waiting.empty();
}

LazyFill::Put LazyFill::serve_page(Space& space, uint64_t address) {
  uint64_t page = 0;
  {
    const auto lock = lock_urgently();
    if (error_) return Put::again;
    const Piece* piece = piece_at(space, address);
    if (piece != nullptr) page = piece->first_page + (address - piece->start) / kPageSize;
    if (piece == nullptr || !view_.page_hash(space.id, page)) return put_zero(space, address);
  }
  const uint64_t aligned = page / kPagesNear * kPagesNear;
  store::View::Run run{page, 1};
  for (const auto& found : view_.runs(space.id, aligned, kPagesNear)) {
    if (page - found.first < found.count) run = found;
  }
  if (auto read = view_.read(space.id, run.first, run.count, near_.get()); !read) {
    fail(std::move(read).error());
    return Put::again;
  }
  const auto lock = lock_urgently();
  const Piece* piece = piece_at(space, address);
  if (piece == nullptr || piece->first_page + (address - piece->start) / kPageSize != page) return Put::again;
  const Put own = put(space, address, std::span(near_.get() + (page - run.first) * kPageSize, kPageSize));
  if (own == Put::done) (void)put_extent(space, {space.id, run.first, run.count, near_.get()});
  return own;
}

namespace {

void wake(int userfaultfd, uint64_t address) {
  uffdio_range range{address, kPageSize};
  (void)::ioctl(userfaultfd, UFFDIO_WAKE, &range);
}

}  // namespace

LazyFill::Put LazyFill::put_zero(Space& space, uint64_t address) {
  uffdio_zeropage request{};
  request.range = {address, kPageSize};
  if (::ioctl(space.userfaultfd.get(), UFFDIO_ZEROPAGE, &request) == 0) return Put::done;
  if (errno == EAGAIN) return Put::again;
  wake(space.userfaultfd.get(), address);
  return Put::gone;
}

/// A page that is there already stays as it is. With the mutex held.
LazyFill::Put LazyFill::put(Space& space, uint64_t address, std::span<const std::byte> contents) {
  for (uint64_t done = 0; done < contents.size();) {
    uffdio_copy request{};
    request.dst = address + done;
    request.src = reinterpret_cast<uint64_t>(contents.data()) + done;
    request.len = contents.size() - done;
    request.mode = UFFDIO_COPY_MODE_WP;
    if (::ioctl(space.userfaultfd.get(), UFFDIO_COPY, &request) == 0) return Put::done;
    const int problem = errno;
    if (request.copy > 0) {
      done += static_cast<uint64_t>(request.copy);
    } else if (problem == EEXIST) {
      wake(space.userfaultfd.get(), address + done);
      done += kPageSize;
    } else if (problem == EAGAIN) {
      return Put::again;
    } else {
      if (problem == ESRCH) space.is_gone = true;
      else if (problem != ENOENT && !error_) error_ = Error{fmt::format("fill memory at {:x} (UFFDIO_COPY)", address + done), problem};
      wake(space.userfaultfd.get(), address + done);
      return Put::gone;
    }
  }
  return Put::done;
}

/// Wherever its pages belong by now. With the mutex held.
LazyFill::Put LazyFill::put_extent(Space& space, const store::View::Extent& extent) {
  if (space.is_gone) return Put::gone;
  for (const Piece& piece : space.pieces) {
    const uint64_t pages = (piece.end - piece.start) / kPageSize;
    const uint64_t first = std::max(extent.first, piece.first_page);
    const uint64_t end = std::min(extent.first + extent.count, piece.first_page + pages);
    if (first >= end) continue;
    const uint64_t address = piece.start + (first - piece.first_page) * kPageSize;
    const Put result = put(space, address, std::span(extent.bytes + (first - extent.first) * kPageSize, (end - first) * kPageSize));
    if (result == Put::again || space.is_gone) return result;
  }
  return Put::done;
}

Result<void> LazyFill::fill_extent(const store::View::Extent& extent) {
  for (uint64_t done = 0; done < extent.count;) {
    if (stopping_) return failure("stopped");
    if (urgent_ > 0) {
      std::this_thread::yield();
      continue;
    }
    const uint64_t count = std::min(kPagesAtATime, extent.count - done);
    const store::View::Extent part{extent.space, extent.first + done, count, extent.bytes + done * kPageSize};
    bool again = false;
    {
      const std::lock_guard lock(mutex_);
      if (error_) return std::unexpected(*error_);
      for (Space& space : spaces_) again |= space.id == part.space && put_extent(space, part) == Put::again;
    }
    // An event waits to be read.
    if (again) ::usleep(20);
    else done += count;
  }
  return {};
}

void LazyFill::fill_rest() {
  filler_ = thread_without_signals([this] {
    std::vector<store::SpaceId> spaces;
    for (const auto& [space, userfaultfd] : userfaultfds()) spaces.push_back(space);
    auto read = view_.read_all(spaces, [this](std::span<const store::View::Extent> extents) -> Result<void> {
      for (const auto& extent : extents) TRY(fill_extent(extent));
      return {};
    }, store::View::Pace::considerate);
    if (read) is_filled_ = true;
    else fail(std::move(read).error());
  });
}

Result<std::vector<PageRun>> LazyFill::unchanged_pages(store::SpaceId id, pid_t host_pid) {
  namespace uapi = linux_uapi;
  const Fd pagemap = TRY(open_pagemap(host_pid));
  std::vector<PageRegion> regions;
  const std::lock_guard lock(mutex_);
  for (const Space& space : spaces_) {
    if (space.id != id || space.is_child) continue;
    for (const Piece& piece : space.pieces) {
      if (piece.first_page != piece.start / kPageSize) continue;
      TRY(scan_pages(pagemap.get(), piece.start, piece.end,
                     {.required = uapi::kPageIsPresent | uapi::kPageIsWpAllowed | uapi::kPageIsWritten,
                      .inverted = uapi::kPageIsWritten,
                      .any_of = 0,
                      .reported = 0,
                      .protect = false},
                     regions));
    }
  }
  std::vector<PageRun> pages;
  for (const PageRegion& region : regions) pages.push_back({region.start / kPageSize, (region.end - region.start) / kPageSize});
  return pages;
}

}  // namespace perdure::memory
