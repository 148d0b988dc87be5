// A note beside the log of how far it was durable.
#pragma once

#include <memory>
#include <optional>

#include "store/format.h"
#include "store/storage.h"

namespace perdure::store {

/// Tells durable epochs that were lost to damage from one that a crash cut off before it was durable. Without it a store works all the same.
class DurableMark {
 public:
  /// An epoch that was durable, and the newest one unless power was cut; nullopt when the note is missing or damaged. To be read before the
  /// segments: a writer may be at work.
  static std::optional<EpochNumber> read(Storage& storage, const StoreId& store_id);

  /// For a writer; makes the note, naming `last`, where none can be read.
  DurableMark(Storage& storage, const StoreId& store_id, EpochNumber last);
  /// `epoch` is durable. Not flushed: after a power cut the note may name an older one.
  void set(EpochNumber epoch);

 private:
  StoreId store_id_;
  std::unique_ptr<File> file_;  ///< null: there is no room for it
  EpochNumber epoch_;
};

}  // namespace perdure::store
