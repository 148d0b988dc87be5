// What keeps a store's writer alone: flock on a file of its directory.
#pragma once

#include "store/storage.h"

namespace perdure::store {

/// The writer's lock, held until the file is closed. EBUSY "in use by pid N" when there is a writer already.
Result<std::unique_ptr<File>> take_writer_lock(Storage& storage);
/// Whether somebody holds it.
bool has_writer(Storage& storage);

}  // namespace perdure::store
