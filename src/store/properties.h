// Small named values beside the log, each a file of its own.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "store/format.h"
#include "store/storage.h"

namespace perdure::store {

Result<void> write_property(Storage& storage, const StoreId& store_id, const std::string& name, const std::string& value);
Result<std::optional<std::string>> read_property(Storage& storage, const StoreId& store_id, const std::string& name);

/// One line for each property that cannot be read.
Result<std::vector<std::string>> damaged_properties(Storage& storage, const StoreId& store_id);

}  // namespace perdure::store
