// A process seen from outside: its memory, its descriptors, its /proc entries.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace perdure {

/// pidfd_open(2), of a process or of one of its threads.
Result<Fd> open_pidfd(pid_t pid);

/// pidfd_getfd(2): a duplicate of descriptor `number` of the process behind `pidfd`.
Result<Fd> duplicate_descriptor(int pidfd, int number);
/// The same of a process, or of one of its threads (which may have a descriptor table of its own), by its PID.
Result<Fd> duplicate_descriptor_of(pid_t pid, int number);

/// Opens /proc/PID/mem for reading and writing.
Result<Fd> open_process_memory(pid_t pid);

/// pread/pwrite on /proc/PID/mem: reaches PROT_NONE pages, and writes to private read-only ones. A short transfer is an error.
Result<void> read_memory(int process_memory, uint64_t address, std::span<std::byte> to);
Result<void> write_memory(int process_memory, uint64_t address, std::span<const std::byte> from);

/// A piece of another process's memory.
struct RemotePiece {
  uint64_t address;
  uint64_t size;
};

/// process_vm_readv of all `pieces` into the contiguous `to`, as many to a call as the kernel takes. Returns the bytes read before
/// the first piece that could not be read (for example a PROT_NONE page: use read_memory there).
size_t read_pieces(pid_t pid, std::span<const RemotePiece> pieces, std::byte* to);

/// The contents of a (small) file, as /proc gives them.
Result<std::string> read_file(const std::string& path);
Result<std::string> read_link(const std::string& path);
/// What stands behind a path of /proc that has no name any more (proc(5)).
inline constexpr std::string_view kDeleted = " (deleted)";
/// Replaces the contents of an existing file (a /proc or cgroup knob).
Result<void> write_file(const std::string& path, const std::string& contents);

/// A field of /proc/PID/stat behind the name, numbered as in proc(5): 3 is the state. Empty when the process is gone.
std::string process_stat_field(pid_t pid, int number);
/// The letter of a process's state (proc(5)); 0 when it is gone.
char process_state(pid_t pid);

/// How many tasks of the machine run or wait for a processor at this moment (the first figure of the fourth field of /proc/loadavg, proc(5)), the caller
/// among them. 0 where that cannot be told.
unsigned runnable_tasks();

/// What the clocks of a process's children show more than the machine's, in nanoseconds (time_namespaces(7)).
struct ClockOffsets {
  int64_t monotonic_ns = 0;
  int64_t boottime_ns = 0;
};
Result<ClockOffsets> clock_offsets(pid_t pid);

/// Finds [vdso] and the vvar mappings of a process, by name as in /proc/PID/maps.
struct SpecialMapping {
  std::string name;
  uint64_t start;
  uint64_t end;
};
Result<std::vector<SpecialMapping>> special_mappings(pid_t pid);

/// Takes the calling thread into the IPC namespace of a process.
Result<void> enter_ipc_namespace(pid_t pid);

/// The inode number of a namespace of a process; `kind` as in /proc/PID/ns ("pid", "time_for_children").
Result<uint64_t> namespace_inode(pid_t pid, const char* kind);

}  // namespace perdure
