// The clocks, in nanoseconds.
#pragma once

#include <cstdint>
#include <ctime>

namespace perdure {

inline constexpr int64_t kNanosecondsPerSecond = 1'000'000'000;
/// File timestamps move in steps of a timer tick: a change this shortly before a look may hide one right behind it.
inline constexpr int64_t kTimestampStepNs = 20'000'000;

inline int64_t to_nanoseconds(const timespec& time) { return time.tv_sec * kNanosecondsPerSecond + time.tv_nsec; }

/// clock_gettime(clock) as nanoseconds.
inline int64_t clock_ns(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return to_nanoseconds(now);
}
inline int64_t monotonic_ns() { return clock_ns(CLOCK_MONOTONIC); }
inline int64_t realtime_ns() { return clock_ns(CLOCK_REALTIME); }

inline timespec to_timespec(int64_t nanoseconds) {
  return {static_cast<time_t>(nanoseconds / kNanosecondsPerSecond),
          static_cast<long>(nanoseconds % kNanosecondsPerSecond)};
}

}  // namespace perdure
