#include "capture/sleeps.h"

#include <algorithm>
#include <set>

#include "base/clock.h"
#include "linux/process.h"
#include "linux/restart.h"

namespace perdure::capture {

namespace {

/// How long after its deadline a call that was to be taken up again is still looked for.
constexpr int64_t kLateNs = 100'000'000;

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

/// The wait that the thread may still be in.
Sleeps::SocketWait* Sleeps::socket_wait(const posix::ThreadBrief& thread) {
  const auto found = socket_waits_.find(thread.task);
  if (found == socket_waits_.end() || found->second.thread_start_ns != thread.start_boottime_ns) return nullptr;
  return !found->second.nvcsw || *found->second.nvcsw == thread.nvcsw ? &found->second : nullptr;
}

int64_t Sleeps::socket_remaining_ns(const posix::ThreadBrief& thread, int64_t kernel_remaining_ns, bool in_continuation, int64_t now_ns) {
  SocketWait* wait = socket_wait(thread);
  const bool elsewhere = !in_continuation && wait != nullptr && wait->instruction != thread.instruction_pointer - kSystemCallBytes;
  if (elsewhere && !wait->nvcsw) wait = nullptr;
  if (kernel_remaining_ns < 0) {
    end_socket_wait(thread);
    return -1;
  }
  if (wait == nullptr) {
    wait = &socket_waits_[thread.task];
    *wait = {thread.start_boottime_ns, thread.nvcsw, now_ns + kernel_remaining_ns};
  }
  wait->nvcsw = thread.nvcsw;
  return std::max<int64_t>(wait->deadline_ns - now_ns, 0);
}

int64_t Sleeps::take_up_again(const posix::ThreadBrief& thread, int64_t now_ns) {
  SocketWait* wait = socket_wait(thread);
  if (wait == nullptr) return -1;
  wait->nvcsw.reset();
  wait->imposed = true;
  wait->instruction = thread.instruction_pointer - kSystemCallBytes;
  return std::max<int64_t>(wait->deadline_ns - now_ns, 0);
}

int64_t Sleeps::stopped_in_call(const posix::ThreadBrief& thread, int64_t now_ns) {
  const SocketWait* wait = socket_wait(thread);
  if (wait == nullptr) return -1;
  return std::max<int64_t>(wait->deadline_ns - now_ns, 0);
}

bool Sleeps::is_about_to_take_up(const posix::ThreadBrief& thread) {
  const SocketWait* wait = socket_wait(thread);
  return wait != nullptr && wait->imposed && wait->instruction == thread.instruction_pointer;
}

void Sleeps::impose(const posix::ThreadBrief& thread, uint64_t instruction, int64_t deadline_ns) {
  socket_waits_[thread.task] = {thread.start_boottime_ns, std::nullopt, deadline_ns, true, instruction};
}

std::set<uint64_t> Sleeps::overdue(const std::vector<posix::ThreadBrief>& threads, int64_t now_ns) {
  std::set<uint64_t> tasks, on_their_way;
  const auto due = next_overdue_ns();
  if (!due || *due > now_ns) return tasks;
  for (const posix::ThreadBrief& thread : threads) {
    const SocketWait* wait = socket_wait(thread);
    if (wait == nullptr || !wait->imposed || wait->deadline_ns > now_ns) continue;
    if (thread.file_wait != posix::kNoFileWait) tasks.insert(thread.task);
    else if (!wait->nvcsw && wait->deadline_ns + kLateNs > now_ns) on_their_way.insert(thread.task);
  }
  // Of the others the call is over: they are not to be looked for again.
  std::erase_if(socket_waits_, [&](const auto& entry) {
    const auto& [task, wait] = entry;
    return wait.imposed && wait.deadline_ns <= now_ns && !tasks.contains(task) && !on_their_way.contains(task);
  });
  return tasks;
}

std::optional<int64_t> Sleeps::next_overdue_ns() const {
  std::optional<int64_t> next;
  for (const auto& [task, wait] : socket_waits_) {
    if (wait.imposed && (!next || wait.deadline_ns < *next)) next = wait.deadline_ns;
  }
  return next;
}

void Sleeps::keep_only(const std::vector<posix::ThreadBrief>& threads) {
  std::set<uint64_t> present;
  for (const posix::ThreadBrief& thread : threads) present.insert(thread.task);
  std::erase_if(sleeps_, [&](const auto& sleep) { return !present.contains(sleep.first); });
  std::erase_if(socket_waits_, [&](const auto& wait) { return !present.contains(wait.first); });
}

}  // namespace perdure::capture
