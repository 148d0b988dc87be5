// The vDSO: code of the kernel's in every program, to which programs keep pointers.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "posix/object_tree.h"

namespace perdure::posix {

/// A hash of this kernel's vDSO: only a group that ran with the same one can go on here.
Result<uint64_t> vdso_hash();

/// An error when the group ran with another vDSO than this kernel's.
Result<void> check_vdso(const Group& group);

}  // namespace perdure::posix
