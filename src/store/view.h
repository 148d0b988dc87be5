// An epoch's contents, as Store::view gives them.
#pragma once

#include "store/page_reader.h"
#include "store/store.h"

namespace perdure::store {

std::unique_ptr<View> make_view(EpochInfo info, Index index, PageReader reader);

}  // namespace perdure::store
