#include "capture/sleeps.h"

#include <algorithm>
#include <set>

#include "base/clock.h"
#include "linux/process.h"

namespace perdure::capture {

namespace {

/// The timeout as the call was given it; -1 without one.
int64_t timeout_ns(const posix::ThreadBrief& thread, const posix::CallArguments& call) {
  using Form = posix::TimeoutArgument::Form;
  const auto argument = posix::relative_timeout_of(call.number, call.values);
  if (argument.form == Form::none) return -1;
  const uint64_t value = call.values[argument.argument];
  if (argument.form == Form::milliseconds) {
    return static_cast<int32_t>(value) < 0 ? -1 : static_cast<int64_t>(static_cast<uint32_t>(value)) * 1'000'000;
  }
  int64_t pair[2] = {0, 0};
  const RemotePiece piece{value, sizeof pair};
  if (value == 0 || read_pieces(static_cast<pid_t>(thread.host_tid), std::span(&piece, 1), reinterpret_cast<std::byte*>(pair)) != sizeof pair) return -1;
  return pair[0] * kNanosecondsPerSecond + pair[1] * (argument.form == Form::timeval_pointer ? 1000 : 1);
}

}  // namespace

int64_t Sleeps::remaining_ns(const posix::ThreadBrief& thread, const posix::CallArguments& call, bool asleep, int64_t now_ns) {
  if (posix::relative_timeout_of(call.number, call.values).form == posix::TimeoutArgument::Form::none) return -1;
  const auto known = sleeps_.find(thread.task);
  const bool same_call = known != sleeps_.end() && known->second.thread_start_ns == thread.start_boottime_ns && known->second.call == call.number;
  const bool goes_on = same_call && ((asleep && known->second.nvcsw == thread.nvcsw) || posix::has_remaining_timeout(call));
  Sleep sleep{thread.start_boottime_ns, call.number, std::nullopt, -1};
  if (asleep) sleep.nvcsw = thread.nvcsw;
  if (goes_on) {
    sleep.deadline_ns = known->second.deadline_ns;
  } else if (const int64_t timeout = timeout_ns(thread, call); timeout >= 0) {
    sleep.deadline_ns = now_ns + timeout;
  }
  sleeps_.insert_or_assign(thread.task, sleep);
  return sleep.deadline_ns < 0 ? -1 : std::max<int64_t>(sleep.deadline_ns - now_ns, 0);
}

void Sleeps::keep_only(const std::vector<posix::ThreadBrief>& threads) {
  std::set<uint64_t> present;
  for (const posix::ThreadBrief& thread : threads) present.insert(thread.task);
  std::erase_if(sleeps_, [&](const auto& sleep) { return !present.contains(sleep.first); });
}

}  // namespace perdure::capture
