#include "memory/fork_watch.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <iterator>
#include <utility>

#include "linux/signal_mask.h"
#include "linux/userfaultfd.h"

namespace perdure::memory {

namespace {

constexpr uint64_t kStop = 0;  // no descriptor's number
constexpr size_t kForksMax = 256;  // each is a descriptor, and nobody may be asking for them (a disk that is full)

}  // namespace

ForkWatch::Watched::Watched(Watched&& other) noexcept
    : watch_(std::exchange(other.watch_, nullptr)), number_(other.number_), userfaultfd_(other.userfaultfd_) {}

ForkWatch::Watched& ForkWatch::Watched::operator=(Watched&& other) noexcept {
  std::swap(watch_, other.watch_);
  std::swap(number_, other.number_);
  std::swap(userfaultfd_, other.userfaultfd_);
  return *this;
}

ForkWatch::Watched::~Watched() {
  if (watch_ != nullptr) watch_->forget(number_);
}

ForkWatch::ForkWatch(Fd ready, Fd stop) : ready_(std::move(ready)), stop_(std::move(stop)) {}

Result<std::unique_ptr<ForkWatch>> ForkWatch::create() {
  Fd ready(::epoll_create1(EPOLL_CLOEXEC));
  Fd stop(::eventfd(0, EFD_CLOEXEC));
  epoll_event event{.events = EPOLLIN, .data = {.u64 = kStop}};
  if (!ready || !stop || ::epoll_ctl(ready.get(), EPOLL_CTL_ADD, stop.get(), &event) != 0) return system_error("watch for forks");
  std::unique_ptr<ForkWatch> watch(new ForkWatch(std::move(ready), std::move(stop)));
  watch->thread_ = thread_without_signals([&served = *watch] { served.serve(); });
  return watch;
}

ForkWatch::~ForkWatch() {
  const uint64_t one = 1;
  (void)!::write(stop_.get(), &one, sizeof one);
  thread_.join();
  forks_.clear();
}

Result<ForkWatch::Watched> ForkWatch::watch(Fd userfaultfd) {
  const std::lock_guard lock(mutex_);
  return keep(std::move(userfaultfd));
}

Result<ForkWatch::Watched> ForkWatch::keep(Fd userfaultfd) {
  const int descriptor = userfaultfd.get();
  const uint64_t number = ++last_number_;
  epoll_event event{.events = EPOLLIN, .data = {.u64 = number}};
  if (::epoll_ctl(ready_.get(), EPOLL_CTL_ADD, descriptor, &event) != 0) return system_error("watch for forks");
  kept_.emplace(number, std::move(userfaultfd));
  return Watched(*this, number, descriptor);
}

void ForkWatch::forget(uint64_t number) {
  const std::lock_guard lock(mutex_);
  kept_.erase(number);
}

std::vector<ForkWatch::Fork> ForkWatch::take() {
  const std::lock_guard lock(mutex_);
  std::vector<Fork> forks(std::move_iterator(forks_.begin()), std::move_iterator(forks_.end()));
  forks_.clear();
  return forks;
}

bool ForkWatch::is_lost(const Watched& watched) {
  const std::lock_guard lock(mutex_);
  return !kept_.contains(watched.number());
}

void ForkWatch::serve() {
  for (;;) {
    std::array<epoll_event, 16> events;
    const int count = ::epoll_wait(ready_.get(), events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; ++i) {
      if (events[static_cast<size_t>(i)].data.u64 == kStop) return;
      take_events(events[static_cast<size_t>(i)].data.u64);
    }
  }
}

void ForkWatch::take_events(uint64_t number) {
  std::vector<Fork> dropped;  // given back without the lock
  const std::lock_guard lock(mutex_);
  for (;;) {
    const auto parent = kept_.find(number);
    if (parent == kept_.end()) return;
    auto child = read_fork_event(parent->second.get());
    // No descriptor is left for the child, say: closing the parent's is the only other way to let it go on.
    if (!child) kept_.erase(parent);
    if (!child || !*child) return;
    // Without a place for it the child is not tracked: that is what it looks like to whoever looks for newcomers.
    if (auto watched = keep(std::move(*child))) forks_.push_back({number, std::move(*watched)});
    if (forks_.size() <= kForksMax) continue;
    dropped.push_back(std::move(forks_.front()));
    forks_.pop_front();
  }
}

}  // namespace perdure::memory
