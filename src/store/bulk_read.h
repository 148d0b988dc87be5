// Reading very many pages, in the order in which they lie on the disk.
#pragma once

#include <functional>
#include <span>

#include "store/index.h"
#include "store/page_reader.h"
#include "store/store.h"

namespace perdure::store {

/// Reads and checks all pages of `spaces` in large reads, at that pace, in threads, each of which calls take() with what it has read. Ends at the first
/// error, be it take()'s.
Result<void> read_all(const Index& index, std::span<const SpaceId> spaces, const PageReader& reader,
                      const std::function<Result<void>(std::span<const View::Extent>)>& take, View::Pace pace);

}  // namespace perdure::store
