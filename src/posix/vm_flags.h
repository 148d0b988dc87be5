// vm_area_struct.vm_flags (include/linux/mm.h of Linux 6.7 to 6.18, x86-64; the same in all of them).
#pragma once

#include <cstdint>

namespace perdure::posix::vm_flags {

inline constexpr uint64_t kRead = 0x1;
inline constexpr uint64_t kWrite = 0x2;
inline constexpr uint64_t kExecute = 0x4;
inline constexpr uint64_t kShared = 0x8;
inline constexpr uint64_t kMayWrite = 0x20;
inline constexpr uint64_t kMayShare = 0x80;
inline constexpr uint64_t kGrowsDown = 0x100;
inline constexpr uint64_t kPfnMap = 0x400;
inline constexpr uint64_t kUffdWriteProtect = 0x1000;
inline constexpr uint64_t kLocked = 0x2000;
inline constexpr uint64_t kIo = 0x4000;
inline constexpr uint64_t kSequentialRead = 0x8000;
inline constexpr uint64_t kRandomRead = 0x10000;
inline constexpr uint64_t kDontCopy = 0x20000;
inline constexpr uint64_t kLockOnFault = 0x80000;
inline constexpr uint64_t kAccount = 0x100000;
inline constexpr uint64_t kNoReserve = 0x200000;
inline constexpr uint64_t kHugePageTable = 0x400000;
inline constexpr uint64_t kSynchronous = 0x800000;
inline constexpr uint64_t kWipeOnFork = 0x2000000;
inline constexpr uint64_t kDontDump = 0x4000000;
inline constexpr uint64_t kHugePage = 0x20000000;
inline constexpr uint64_t kNoHugePage = 0x40000000;
inline constexpr uint64_t kMergeable = 0x80000000;
inline constexpr unsigned kProtectionKeyShift = 32;  // four bits
inline constexpr uint64_t kProtectionKeyMask = 0xfull << kProtectionKeyShift;
inline constexpr uint64_t kDroppable = 1ull << 40;
inline constexpr uint64_t kSealed = 1ull << 42;

}  // namespace perdure::posix::vm_flags
