// The XSAVE area: from the kernel's compacted format to the standard one that ptrace and sigreturn take (Intel SDM vol. 1, chapter 13).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"

namespace perdure::posix {

/// The same state in the standard layout, as PTRACE_SETREGSET with NT_X86_XSTATE takes it. `state`: an XSAVE area, compacted or not.
/// `user_features`: the components that user space may see. Components that `state` does not hold get their initial values; PKRU, which
/// the kernel keeps elsewhere, gets `pkru` where the processor has protection keys.
Result<std::vector<std::byte>> standard_extended_state(std::span<const std::byte> state, uint64_t user_features, uint32_t pkru);

}  // namespace perdure::posix
