// Points in time as users write and read them.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace perdure::cli {

/// "2026-11-21 14:03:05.123": local time, to the millisecond.
std::string clock_time(int64_t realtime_ns);

/// Whether `text` is meant as a point in time: no epoch and no label looks like one.
bool names_moment(const std::string& text);

/// The last nanosecond that `text` means, as CLOCK_REALTIME: "2026-11-21 14:03:05" or "14:03:05" (today), local time, or "-30s", "-5m", "-2h"
/// before `now_ns`. A fraction of a second, as clock_time() prints it, includes what comes after its last digit. Error when it is no time, or is
/// still to come.
Result<int64_t> parse_moment(const std::string& text, int64_t now_ns);

}  // namespace perdure::cli
