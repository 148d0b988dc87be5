// Checking everything that the kept epochs of a store need.
#pragma once

#include "store/history.h"
#include "store/storage.h"

namespace perdure::store {

Result<VerifyReport> verify_store(Storage& storage, const StoreId& store_id, const SegmentSet& segments, const History& history,
                                  EpochNumber oldest, EpochNumber last, const std::vector<std::string>& notices,
                                  const std::function<void(uint64_t, uint64_t)>& progress);

}  // namespace perdure::store
