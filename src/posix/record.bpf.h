// What the kernel side and the C++ side of the collector agree on: how records are framed, and the request of one pass.
#pragma once

#include <stdint.h>

#ifdef __cplusplus
namespace perdure::posix {
#endif

/// Every record begins with one of these; `size` counts the header, the fields and the tail, and is a multiple of 8.
struct RecordHeader {
  uint32_t kind;  ///< enum RecordKind
  uint32_t size;
};

enum RecordKind {
  kThreadBriefRecord = 1,
  kThreadRecord,
  kProcessRecord,
  kAddressSpaceRecord,
  kCredentialsRecord,
  kSignalHandlersRecord,
  kPendingSignalRecord,
  kNamespacesRecord,
  kFileSystemContextRecord,
  kFileRecord,
  kMappingRecord,
  kPipeRecord,
  kPipeBufferRecord,
  kEventfdRecord,
  kTimerfdRecord,
  kSignalfdRecord,
  kEpollRecord,
  kEpollItemRecord,
  kPidfdRecord,
  kSocketRecord,
  kInotifyRecord,
  kTerminalRecord,
  kFileLockRecord,
  kPosixTimerRecord,
  kSemaphoreUndoRecord,
  kSocketMessageRecord,
  kMessageQueueRecord,
  kQueuedMessageRecord,
  kInotifyWatchRecord,
  kTerminalInputRecord,
  kFilePathRecord,
  kDirectoryWatchRecord,
  kSameThreadRecord,  ///< struct SameThreadRecord
};

/// A thread of which nothing has changed since it was last told by the same program.
struct SameThreadRecord {
  struct RecordHeader header;
  uint64_t task;
};

enum CollectorLimits {
  kOutputCapacity = 8 << 20,        ///< bytes one pass can hand over; more takes several passes
  kLargestRecord = 320 << 10,       ///< 65536 supplementary groups
  kThreadsPerPassLimit = 1 << 20,   ///< keeps the verifier sure that the walk ends
  kDescriptorsPerPassLimit = 1 << 20,
  kMappingsPerPassLimit = 1 << 20,
  kSeenSlots = 1 << 13,
};

enum GroupFilter { kFilterPidNamespace = 1, kFilterCgroup = 2 };

enum PassStatus {
  kPassDone = 0,
  kPassMore = 1,       ///< the output is full: go on at `next`
  kPassNoTask = 2,     ///< no such task
  kPassStale = 3,      ///< the namespace is not the one that was asked for
  kPassUnreadable = 4, ///< the mappings could not be locked, or changed
  kPassTooManySignals = 5,
  kPassUnreadableMessage = 7,
  kPassWrongKind = 6,  ///< the object is not of the kind asked for
};

/// The context of one run of a program: what to read, and where the output ends.
struct CollectRequest {
  uint32_t filter;             ///< enum GroupFilter
  uint32_t namespace_inode;    ///< the group's PID namespace
  uint64_t namespace_address;  ///< its struct pid_namespace; 0 until found
  uint64_t cgroup_id;
  uint32_t cgroup_level;       ///< its depth below the root cgroup
  uint32_t reserved;
  uint32_t host_pid;           ///< files, mappings: of which process
  uint32_t status;             ///< out: enum PassStatus
  uint64_t next;               ///< in and out: where to go on (PID, descriptor or address)
  uint64_t used;               ///< out: bytes of output
  uint64_t generation;         ///< tells the objects seen in this collection from those of earlier ones
  uint64_t registers_offset;   ///< distance from a kernel stack's base to its pt_regs
  uint64_t monotonic_ns;       ///< in and out: CLOCK_MONOTONIC of the machine that times are relative to; 0 in: the start of the pass
  uint64_t address, size;      ///< kernel memory or a kernel object that is asked for; mappings: `size` counts them (0 in)
  uint64_t result;             ///< out: a single value; mappings: the sequence of their lock at the start
  uint64_t page_structures;    ///< where the array of struct page begins (vmemmap)
  uint64_t page_contents;      ///< where the direct mapping of physical memory begins
  uint64_t memory;             ///< tells what this reader was told before from what others were
  uint64_t time_stamp_denied_flag, cpuid_denied_flag;  ///< bits of a thread's flags; 0 where there is no such
};

#ifdef __cplusplus
}  // namespace perdure::posix
#endif
