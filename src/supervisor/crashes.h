// `--on-crash resume`: which ends of a program are crashes, how often in a row its group is brought back, and from where.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "base/clock.h"
#include "store/store.h"

namespace perdure::supervisor {

/// Whether a program that ended with this wait(2) status crashed: by a signal, and none of those by which one asks a program to end (SIGHUP,
/// SIGINT, SIGQUIT, SIGTERM) or tells it that nobody reads its output (SIGPIPE).
bool is_crash(int wait_status);

/// "SIGSEGV, Segmentation fault"
std::string describe_signal(int number);

/// Crashes of one program that follow one another without some healthy life in between.
class CrashRow {
 public:
  static constexpr int kResumesMax = 5;
  static constexpr int64_t kHealthyNs = 10 * kNanosecondsPerSecond;

  /// Counts a crash of a program that had lived for `life_ns` since it was started or resumed. False when it has been resumed often enough.
  bool note_crash(int64_t life_ns);
  /// Resumes in a row, that after the last crash included.
  int resumes() const { return resumes_; }
  /// How many of the newest epochs are passed over: none at first, then more each time, since what is taken right before a crash may lead to
  /// nothing else.
  size_t step_back() const;

 private:
  int resumes_ = 0;
};

/// Which epochs of a store led to the present state of a group's program: not those of other runs of the group, and not those that were left
/// behind when it went on from an older one.
class Lineage {
 public:
  /// The program begins; its epochs are those from `first` on.
  void begin(store::EpochNumber first) { ranges_ = {{first, kOpen}}; }
  /// The program goes on from `epoch`, and its epochs are those from `next` on.
  void go_on(store::EpochNumber epoch, store::EpochNumber next);
  bool contains(store::EpochNumber epoch) const;

 private:
  static constexpr store::EpochNumber kOpen = std::numeric_limits<store::EpochNumber>::max();
  struct Range {
    store::EpochNumber first;
    store::EpochNumber last;
  };
  std::vector<Range> ranges_;
};

}  // namespace perdure::supervisor
