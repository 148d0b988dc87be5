// The history of a group as `perdure log` shows it.
#pragma once

#include <nlohmann/json.hpp>

#include "store/store.h"

namespace perdure::supervisor {

/// One JSON object an epoch, oldest first, with units in the names of the fields.
nlohmann::json history_report(const store::Store& store);

}  // namespace perdure::supervisor
