#include "cli/moment.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <ctime>
#include <limits>
#include <optional>

#include "base/clock.h"
#include "cli/commands.h"
#include "supervisor/group_directory.h"

namespace perdure::cli {

namespace {

constexpr const char* kDateAndTime = "%Y-%m-%d %H:%M:%S";

std::string local_time(time_t seconds, const char* format) {
  tm broken_down{};
  localtime_r(&seconds, &broken_down);
  std::array<char, 64> text{};
  strftime(text.data(), text.size(), format, &broken_down);
  return text.data();
}

/// Seconds since 1970; nothing for what no clock has shown: the 30th of February, or an hour that summer time leaves out.
std::optional<int64_t> parse_date_and_time(const std::string& text) {
  tm broken_down{};
  const char* end = strptime(text.c_str(), kDateAndTime, &broken_down);
  if (end == nullptr || *end != '\0') return {};
  broken_down.tm_isdst = -1;
  const time_t seconds = mktime(&broken_down);
  if (seconds < 0 || local_time(seconds, kDateAndTime) != text) return {};
  // Later ones are all still to come, and in nanoseconds they would not fit.
  constexpr time_t kLatest = 9'000'000'000;
  return std::min(seconds, kLatest);
}

/// The fraction's last nanosecond: all of those that are shown as these digits.
std::optional<int64_t> parse_fraction(const std::string& digits) {
  constexpr size_t kDigitsMax = 9;
  const bool plain = std::ranges::all_of(digits, [](unsigned char c) { return std::isdigit(c) != 0; });
  if (digits.empty() || digits.size() > kDigitsMax || !plain) return {};
  return std::stoll(digits + std::string(kDigitsMax - digits.size(), '9'));
}

std::optional<int64_t> parse_clock_time(const std::string& text, int64_t now_ns) {
  const size_t point = std::min(text.find('.'), text.size());
  std::string whole = text.substr(0, point);
  if (whole.find('-') == std::string::npos) whole = local_time(now_ns / kNanosecondsPerSecond, "%Y-%m-%d ") + whole;
  const auto seconds = parse_date_and_time(whole);
  const auto fraction_ns = point == text.size() ? 0 : parse_fraction(text.substr(point + 1));
  if (!seconds || !fraction_ns) return {};
  return *seconds * kNanosecondsPerSecond + *fraction_ns;
}

std::optional<int64_t> moment_of(const std::string& text, int64_t now_ns) {
  if (!text.starts_with('-')) return parse_clock_time(text, now_ns);
  constexpr double kOldestNs = 10 * 365 * 24 * 3600e9;
  const double age_ns = nanoseconds_of(text.substr(1), std::numeric_limits<double>::quiet_NaN());
  if (!(age_ns >= 0 && age_ns <= kOldestNs)) return {};
  return now_ns - static_cast<int64_t>(age_ns);
}

}  // namespace

std::string clock_time(int64_t realtime_ns) {
  return fmt::format("{}.{:03}", local_time(realtime_ns / kNanosecondsPerSecond, kDateAndTime), realtime_ns % kNanosecondsPerSecond / 1'000'000);
}

bool names_moment(const std::string& text) { return text.starts_with('-') || text.find(':') != std::string::npos; }

Result<int64_t> parse_moment(const std::string& text, int64_t now_ns) {
  const auto moment = moment_of(text, now_ns);
  if (!moment) {
    return failure(fmt::format("'{}' is no time: write for example '2026-11-21 14:03:05', 14:03:05 (today), -30s, -5m or -2h", supervisor::abbreviated(text)));
  }
  // The last nanosecond of a fraction may be later than now, its first is not.
  if (*moment / kNanosecondsPerSecond > now_ns / kNanosecondsPerSecond) return failure(fmt::format("the time '{}' is still to come", text));
  return *moment;
}

}  // namespace perdure::cli
