// From one epoch's contents to another's.
#pragma once

#include "base/result.h"
#include "store/changes.h"
#include "store/index.h"
#include "store/page_reader.h"

namespace perdure::store {

/// What makes the contents of `from` those of `to`. Pages that lie at the same place in the log are the same; all others are read by `reader`,
/// which must have the segments of `to`, and held in memory. Error when one of those is damaged, or memory is short.
Result<Changes> difference(const Index& from, const Index& to, const PageReader& reader);

}  // namespace perdure::store
