// System calls that the kernel takes up again.
#pragma once

#include <cstdint>

namespace perdure {

/// The kernel's own results that say "start this call again" (include/linux/errno.h); user space never sees them.
inline constexpr int64_t kRestartSys = -512;            ///< unless a handler without SA_RESTART runs first
inline constexpr int64_t kRestartNoInterrupt = -513;    ///< always
inline constexpr int64_t kRestartNoHandler = -514;      ///< unless any handler runs first: then EINTR
inline constexpr int64_t kRestartBlock = -516;          ///< by way of restart_syscall(2)

/// The length of the instruction that makes a call (`syscall`): so far in front of where the call returns to it is made again.
inline constexpr uint64_t kSystemCallBytes = 2;

}  // namespace perdure
