// Work that needs descriptor numbers which this process uses for something else.
#pragma once

#include <functional>

#include "base/result.h"

namespace perdure {

/// Runs `work` in a thread with a copy of the descriptor table, in which any number may be overwritten. Its argument is a pidfd (numbered out
/// of the way) of this process, by which duplicate_descriptor() reaches the untouched table.
Result<void> with_private_descriptors(const std::function<Result<void>(int own_pidfd)>& work);

}  // namespace perdure
