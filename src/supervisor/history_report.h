// The history of a group: as `perdure log` shows it, and searched by time.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "store/store.h"

namespace perdure::supervisor {

/// One JSON object an epoch, oldest first, with units in the names of the fields.
nlohmann::json history_report(const store::Store& store);

/// The newest epoch of `history` (oldest first) that was taken at or before `realtime_ns`.
std::optional<store::EpochInfo> newest_until(const std::vector<store::EpochInfo>& history, int64_t realtime_ns);

}  // namespace perdure::supervisor
