// The history of a group as `perdure log` shows it.
#pragma once

#include <nlohmann/json.hpp>

#include "capture/capturer.h"
#include "store/store.h"

namespace perdure::supervisor {

/// How long a pause and its parts took, with units in the names of the fields.
nlohmann::json pause_report(const capture::Figures& figures);

/// One JSON object an epoch, oldest first, with units in the names of the fields.
nlohmann::json history_report(const store::Store& store);

}  // namespace perdure::supervisor
