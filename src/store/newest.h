// The newest epoch's index, brought up to date when it is asked for.
#pragma once

#include <utility>
#include <vector>

#include "store/index.h"
#include "store/log.h"

namespace perdure::store {

/// The index of the newest epoch and the counts of what the kept epochs need. Applying an epoch's changes takes as long as hashing
/// them; no one has to wait for it to know that the epoch is durable, so it is left to whoever asks next. One thread.
class Newest {
 public:
  Newest(Index index, Liveness liveness) : index_(std::move(index)), liveness_(std::move(liveness)) {}

  const Index& index() const { return up_to_date().index_; }
  const Liveness& liveness() const { return up_to_date().liveness_; }

  /// `epoch` is the newest from now on, made of `parts`; epochs before `oldest` are no longer kept.
  void add(std::vector<Part> parts, EpochNumber epoch, EpochNumber oldest) {
    up_to_date();
    parts_ = std::move(parts);
    epoch_ = epoch;
    oldest_ = oldest;
  }

 private:
  const Newest& up_to_date() const {
    if (parts_.empty()) return *this;
    for (const Part& part : parts_) {
      if ((part.header.flags & kPartSnapshot) != 0) continue;
      // Cannot fail: these are the bytes that were encoded. Going through them keeps memory and a later replay the same.
      static_cast<void>(index_.apply(part.entries(), epoch_, part.data(), &liveness_));
    }
    parts_.clear();
    liveness_.forget_before(oldest_);
    return *this;
  }

  mutable Index index_;
  mutable Liveness liveness_;
  mutable std::vector<Part> parts_;  ///< not yet applied
  EpochNumber epoch_ = 0;
  EpochNumber oldest_ = 0;
};

}  // namespace perdure::store
