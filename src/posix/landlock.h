// Landlock (Documentation/userspace-api/landlock.rst): who is confined by it.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <functional>

#include "base/result.h"
#include "posix/credentials.bpf.h"

namespace perdure::posix {

/// Which word of CredentialsRecord::security points to the Landlock domain.
struct LandlockSlot {
  bool available = false;  ///< false where the kernel has no Landlock, or has it switched off
  size_t word = 0;
};

/// Finds it by what changes in the credentials of a thread of ours that confines itself and ends. `read` gives the credentials of a thread
/// of this process by its number.
Result<LandlockSlot> find_landlock_slot(const std::function<Result<CredentialsRecord>(pid_t)>& read);

}  // namespace perdure::posix
