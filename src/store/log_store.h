// Store on any Storage.
#pragma once

#include "store/storage.h"
#include "store/store.h"

namespace perdure::store {

/// As Store::create, open and open_read_only, in a directory that exists.
Result<std::unique_ptr<Store>> create_store(std::shared_ptr<Storage> storage, const Options& options);
Result<std::unique_ptr<Store>> open_store(std::shared_ptr<Storage> storage, const Options& options);
Result<std::unique_ptr<Store>> open_store_read_only(std::shared_ptr<Storage> storage);

}  // namespace perdure::store
