#include "supervisor/crashes.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace perdure::supervisor {

bool is_crash(int wait_status) {
  constexpr std::array<int, 5> kWanted{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE};
  return WIFSIGNALED(wait_status) && std::ranges::find(kWanted, WTERMSIG(wait_status)) == kWanted.end();
}

std::string describe_signal(int number) {
  const char* name = sigabbrev_np(number);
  return name == nullptr ? fmt::format("signal {}", number) : fmt::format("SIG{}, {}", name, sigdescr_np(number));
}

bool CrashRow::note_crash(int64_t life_ns) {
  if (life_ns >= kHealthyNs) resumes_ = 0;
  if (resumes_ == kResumesMax) return false;
  ++resumes_;
  return true;
}

size_t CrashRow::step_back() const {
  constexpr size_t kFactor = 4;
  if (resumes_ < 2) return 0;
  size_t step = kFactor;
  for (int resume = 2; resume < resumes_; ++resume) step *= kFactor;
  return step;
}

void Lineage::go_on(store::EpochNumber epoch, store::EpochNumber next) {
  std::erase_if(ranges_, [&](const Range& range) { return range.first > epoch; });
  for (Range& range : ranges_) range.last = std::min(range.last, epoch);
  ranges_.push_back({next, kOpen});
}

bool Lineage::contains(store::EpochNumber epoch) const {
  return std::ranges::any_of(ranges_, [&](const Range& range) { return epoch >= range.first && epoch <= range.last; });
}

}  // namespace perdure::supervisor
