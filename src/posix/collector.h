// Kernel state of a group's tasks, read where it lies by BPF programs: nothing stops, and nothing runs in the tasks.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "linux/bpf.h"
#include "posix/address_space.bpf.h"
#include "posix/credentials.bpf.h"
#include "posix/directory_watch.bpf.h"
#include "posix/epoll.bpf.h"
#include "posix/event_descriptors.bpf.h"
#include "posix/file.bpf.h"
#include "posix/file_lock.bpf.h"
#include "posix/landlock.h"
#include "posix/message_queue.bpf.h"
#include "posix/pipe.bpf.h"
#include "posix/process.bpf.h"
#include "posix/page_map.h"
#include "posix/records.h"
#include "posix/socket.bpf.h"
#include "posix/socket_queue.bpf.h"
#include "posix/task.bpf.h"
#include "posix/thread_flags.h"
#include "posix/semaphore.bpf.h"
#include "posix/terminal.bpf.h"
#include "posix/timer.bpf.h"
#include "posix/transfer_progress.h"

namespace perdure::posix {

/// Every thread of a group and what the threads share. Pointers lead into `records`. Move only.
struct TaskTable {
  Records records;
  std::vector<const ThreadRecord*> threads;  ///< in the order of their numbers; one that did not change since an earlier table is the one of that table
  std::vector<std::shared_ptr<const ThreadRecord>> owners;  ///< of `threads`
  OwnedRecords<PendingSignalRecord, &PendingSignalRecord::owner, &PendingSignalRecord::entry> pending_signals;  ///< by ThreadBrief::task or ::signal
  OwnedRecords<PosixTimerRecord, &PosixTimerRecord::signal, &PosixTimerRecord::timer> posix_timers;
  OwnedRecords<SemaphoreUndoRecord, &SemaphoreUndoRecord::undo_list, &SemaphoreUndoRecord::undo> semaphore_undos;
  ObjectRecords<ProcessRecord, &ProcessRecord::signal> processes;
  ObjectRecords<SignalHandlersRecord, &SignalHandlersRecord::sighand> signal_handlers;
  ObjectRecords<AddressSpaceRecord, &AddressSpaceRecord::mm> address_spaces;
  ObjectRecords<CredentialsRecord, &CredentialsRecord::credentials> credentials;
  ObjectRecords<NamespacesRecord, &NamespacesRecord::nsproxy> namespaces;
  ObjectRecords<FileSystemContextRecord, &FileSystemContextRecord::fs> file_system_contexts;
};

/// The XSAVE area as the kernel keeps it: see extended_state.h for the layout that ptrace takes.
std::span<const std::byte> extended_state(const ThreadRecord& thread);
/// Supplementary groups.
std::span<const uint32_t> supplementary_groups(const CredentialsRecord& credentials);

/// What a process's exit would add to each semaphore of a set.
std::span<const int16_t> adjustments(const SemaphoreUndoRecord& undo);

/// The open files of one process, and the state of what they are. Pointers lead into `records`. Move only.
struct FileTable {
  Records records;
  std::vector<const FileRecord*> files;  ///< by descriptor
  ObjectRecords<PipeRecord, &PipeRecord::inode> pipes;
  OwnedRecords<PipeBufferRecord, &PipeBufferRecord::inode, &PipeBufferRecord::index> pipe_buffers;
  ObjectRecords<EventfdRecord, &EventfdRecord::file> eventfds;
  ObjectRecords<TimerfdRecord, &TimerfdRecord::file> timerfds;
  ObjectRecords<SignalfdRecord, &SignalfdRecord::file> signalfds;
  ObjectRecords<EpollRecord, &EpollRecord::file> epolls;
  OwnedRecords<EpollItemRecord, &EpollItemRecord::epoll_file, &EpollItemRecord::item> epoll_items;
  ObjectRecords<PidfdRecord, &PidfdRecord::file> pidfds;
  ObjectRecords<InotifyRecord, &InotifyRecord::file> inotifies;
  OwnedRecords<InotifyWatchRecord, &InotifyWatchRecord::file, &InotifyWatchRecord::mark> inotify_watches;
  ObjectRecords<TerminalRecord, &TerminalRecord::file> terminals;
  OwnedRecords<TerminalInputRecord, &TerminalInputRecord::terminal, &TerminalInputRecord::index> terminal_input;
  ObjectRecords<SocketRecord, &SocketRecord::file> sockets;
  ObjectRecords<SocketRecord, &SocketRecord::sock> waiting_connections;  ///< sockets that wait to be accepted: they have no file yet
  OwnedRecords<FileLockRecord, &FileLockRecord::inode, &FileLockRecord::lock> locks;
  OwnedRecords<DirectoryWatchRecord, &DirectoryWatchRecord::file, &DirectoryWatchRecord::watch> directory_watches;
  ObjectRecords<FilePathRecord, &FilePathRecord::file> paths;  ///< of files in flight alone

  /// All that was read of one of `files`: its record and what follows it until the next one's. Equal bytes mean that nothing of it has changed.
  static std::span<const std::byte> read_of(const FileRecord& file);
};
/// What a pipe's buffer holds; empty when it could not be read.
std::span<const std::byte> buffer_bytes(const PipeBufferRecord& buffer);
/// The bytes of what waits in a terminal.
std::span<const std::byte> input_bytes(const TerminalInputRecord& input);
/// A path of what is watched within its file system, from that one's root; empty when it has no name.
std::string watched_path(const InotifyWatchRecord& watch);
std::string path_in_file_system(const FilePathRecord& path);

/// What waits in a socket's receive queue. Pointers lead into `files.records`. Move only.
struct SocketQueue {
  std::vector<const SocketMessageRecord*> messages;  ///< in the order of receiving
  FileTable files;  ///< the descriptors in flight (FileRecord::message tells in which message), and the connections to be accepted
};
std::span<const std::byte> message_bytes(const SocketMessageRecord& message);

/// A POSIX message queue. Pointers lead into `records`. Move only.
struct MessageQueue {
  Records records;
  const MessageQueueRecord* queue = nullptr;
  std::vector<const QueuedMessageRecord*> messages;  ///< in the order of receiving
};
std::span<const std::byte> message_bytes(const QueuedMessageRecord& message);

/// What an interrupted system call goes on with (thread's restart_block).
enum class RestartFunction { none, futex_wait, nanosleep, poll, posix_cpu_nanosleep, alarm_nanosleep };

/// How mappings() gets at a process: by its number, which takes Linux 6.10, or by coming across it among all tasks.
enum class TaskLookup { automatic, by_number, by_search };

/// Reads the state of one group. What it reads of tasks that run meanwhile may be torn; of tasks that are stopped or asleep throughout
/// it is exact. Move only; one thread at a time.
class Collector {
 public:
  /// Loads the BPF programs (a tenth of a second: once per supervisor).
  static Result<Collector> create(TaskLookup lookup = TaskLookup::automatic);
  Collector(Collector&&) noexcept;
  Collector& operator=(Collector&&) noexcept;
  ~Collector();

  /// The group is the tasks of the PID namespace with this inode number (/proc/PID/ns/pid) and of those below it. At least one task
  /// must be in it. Needs /proc of the caller's own PID namespace: a descriptor keeps the namespace in being.
  Result<void> select_pid_namespace(uint32_t inode);
  /// The group is the tasks of the cgroup v2 with this id (its directory's inode number) and of those below it. At least one
  /// task must be in it.
  Result<void> select_cgroup(uint64_t id);
  /// How deep that cgroup lies below the root.
  uint32_t cgroup_level() const { return group_.cgroup_level; }

  /// From now on what is left of a timer is what was left of it at `monotonic_ns` (CLOCK_MONOTONIC of the initial time namespace).
  void set_moment(int64_t monotonic_ns) { group_.monotonic_ns = static_cast<uint64_t>(monotonic_ns); }

  /// Every thread, zombies included, in the order of their numbers; a few hundred nanoseconds each.
  Result<std::vector<ThreadBrief>> tasks_brief();
  /// Forgets what was told of threads: what is read next is read anew, whatever it was.
  void forget_told();
  /// Every thread with all of its state, and the objects they share.
  Result<TaskTable> tasks();
  /// The open files of a process, given by its number (any of its threads') in the caller's PID namespace.
  Result<FileTable> files(pid_t host_pid);
  /// The mappings of a process, by address; all of them as they were at one moment. Error EBUSY when they keep changing.
  Result<std::vector<MappingRecord>> mappings(pid_t host_pid);

  /// What a UNIX socket (SocketRecord::sock, of files() or of a queue) has received and not yet read, or a listener not yet accepted.
  Result<SocketQueue> socket_queue(uint64_t sock);
  /// The POSIX message queue behind a descriptor; `inode` is FileRecord::inode.
  Result<MessageQueue> message_queue(uint64_t inode);

  struct Userfaultfd {
    uint64_t mm;       ///< the address space that it watches: ThreadBrief::mm
    uint64_t context;  ///< MappingRecord::userfaultfd_context of what is registered with it
  };
  /// What the kernel has behind a userfaultfd; `userfaultfd` is a descriptor of the calling process.
  Result<Userfaultfd> userfaultfd(int userfaultfd);

  /// How many bytes a thread that sleeps in a read or write of these buffers has transferred (see transfer_progress.h). Nothing when it has
  /// none under way. Good as long as the thread has not run since `thread` was read.
  Result<std::optional<uint64_t>> transferred_bytes(const ThreadRecord& thread, std::span<const UserBuffer> buffers);
  /// The same of a thread that sleeps in sendfile(2), of `wanted_bytes` from that position of the file on.
  Result<std::optional<uint64_t>> spliced_bytes(const ThreadRecord& thread, uint64_t wanted_bytes, uint64_t source_position);
  /// What is left of the timeout that a socket imposes on a thread asleep in a call (SO_RCVTIMEO, SO_SNDTIMEO), to the kernel's tick; -1 without.
  Result<int64_t> remaining_wait_ns(const ThreadRecord& thread);

  /// The function that restart_syscall(2) would call for this thread. Error when the kernel has one that we do not know.
  Result<RestartFunction> restart_function(const ThreadRecord& thread);

  /// Whether these credentials are confined by Landlock, which no interface tells. (The first call finds out, in threads of its own that
  /// confine themselves, where this boot keeps it.)
  Result<bool> is_landlocked(const CredentialsRecord& credentials);

 private:
  struct Programs;
  explicit Collector(std::unique_ptr<Programs> programs);
  /// Runs `program` until it has told everything, handing each chunk of output to `take`.
  static Result<std::unique_ptr<Programs>> load(TaskLookup lookup);
  template <typename Take>
  Result<void> collect(int program, CollectRequest request, const char* what, Take take);
  CollectRequest process_request(pid_t host_pid);
  bool add_thread(const RecordHeader& header, TaskTable& table);
  Result<void> add_task_lists(TaskTable& table);
  Result<KernelStack> kernel_stack_of(const ThreadRecord& thread);
  Result<std::span<const std::byte>> read_kernel_memory(uint64_t address, size_t size);
  Result<void> locate_page_contents();
  Result<CredentialsRecord> credentials_of(pid_t host_tid);
  Result<FileTable> read_files(pid_t host_pid);

  std::unique_ptr<Programs> programs_;
  BpfMemory output_;
  KernelLayout layout_{};
  PageMap pages_{};
  ThreadFlags thread_flags_{};
  std::map<uint64_t, std::string> restart_functions_;
  std::optional<LandlockSlot> landlock_;
  CollectRequest group_{};
  uint64_t memory_ = 1;  ///< CollectRequest::memory
  std::unordered_map<uint64_t, std::shared_ptr<const ThreadRecord>> told_threads_;  ///< by task address
  std::vector<ThreadBrief> told_briefs_;  ///< in the order of their numbers
  Fd namespace_;
};

}  // namespace perdure::posix
