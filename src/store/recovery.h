// Finding the newest whole epoch of a store, and how older ones are reached.
#pragma once

#include "store/history.h"
#include "store/log.h"

namespace perdure::store {

/// What opening a store finds.
struct Recovered {
  History history;
  Index index;             ///< of the newest epoch
  Liveness liveness;
  EpochNumber last = 0;    ///< 0: no epoch yet
  EpochNumber oldest = 0;  ///< the oldest kept
  EpochNumber counted_from = 0;  ///< liveness knows what epochs from this one on need
  uint64_t replay_sequence = 1;  ///< segments before this one hold nothing but pages
  LogPosition end;         ///< behind the last part of epoch `last`
  uint64_t end_epoch_first_segment = 0;  ///< segments from this one on may hold what was never flushed
  std::vector<std::string> notices;      ///< one line for each damaged thing that was met
  std::string cut_off;     ///< one line when the end of the log is incomplete, and nobody knows why: a crash, damage, or a writer at work
};

/// Reads the log: finds the newest epoch whose commit is whole and that can be reached. Damage costs epochs, not an error. `durable` is what
/// DurableMark says: what the log lacks up to there is lost, what is incomplete behind it never was.
Result<Recovered> recover(const SegmentSet& segments, std::optional<EpochNumber> durable);

}  // namespace perdure::store
