#include "posix/collector.h"

#include <bpf/libbpf.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>
#include <functional>
#include <unordered_set>

#include "base/clock.h"
#include "linux/bpf_symbols.h"
#include "linux/bpf_types.h"
#include "linux/ptrace.h"
#include "posix/collect.skel.h"

namespace perdure::posix {

namespace {

/// For as long mappings that somebody else is changing are read again; khugepaged copies a huge page meanwhile.
constexpr int64_t kLockedPatienceNs = 10'000'000;

struct CollectDeleter {
  void operator()(::collect* skeleton) const { collect::destroy(skeleton); }
};

template <typename Record>
const Record& as(const RecordHeader& header) {
  return reinterpret_cast<const Record&>(header);
}

void sort_record(const RecordHeader& header, TaskTable& table) {
  switch (header.kind) {
    case kPendingSignalRecord: table.pending_signals.add(as<PendingSignalRecord>(header)); break;
    case kPosixTimerRecord: table.posix_timers.add(as<PosixTimerRecord>(header)); break;
    case kSemaphoreUndoRecord: table.semaphore_undos.add(as<SemaphoreUndoRecord>(header)); break;
    case kProcessRecord: table.processes.add(as<ProcessRecord>(header)); break;
    case kSignalHandlersRecord: table.signal_handlers.add(as<SignalHandlersRecord>(header)); break;
    case kAddressSpaceRecord: table.address_spaces.add(as<AddressSpaceRecord>(header)); break;
    case kCredentialsRecord: table.credentials.add(as<CredentialsRecord>(header)); break;
    case kNamespacesRecord: table.namespaces.add(as<NamespacesRecord>(header)); break;
    case kFileSystemContextRecord: table.file_system_contexts.add(as<FileSystemContextRecord>(header)); break;
  }
}

void seal(TaskTable& table) {
  table.processes.seal();
  table.signal_handlers.seal();
  table.address_spaces.seal();
  table.credentials.seal();
  table.namespaces.seal();
  table.file_system_contexts.seal();
}

void add_socket(const SocketRecord& socket, FileTable& table) {
  if (socket.file != 0) table.sockets.add(socket);
  else table.waiting_connections.add(socket);
}

void sort_record(const RecordHeader& header, FileTable& table) {
  switch (header.kind) {
    case kFileRecord: table.files.push_back(&as<FileRecord>(header)); break;
    case kPipeRecord: table.pipes.add(as<PipeRecord>(header)); break;
    case kPipeBufferRecord: table.pipe_buffers.add(as<PipeBufferRecord>(header)); break;
    case kEventfdRecord: table.eventfds.add(as<EventfdRecord>(header)); break;
    case kTimerfdRecord: table.timerfds.add(as<TimerfdRecord>(header)); break;
    case kSignalfdRecord: table.signalfds.add(as<SignalfdRecord>(header)); break;
    case kEpollRecord: table.epolls.add(as<EpollRecord>(header)); break;
    case kEpollItemRecord: table.epoll_items.add(as<EpollItemRecord>(header)); break;
    case kPidfdRecord: table.pidfds.add(as<PidfdRecord>(header)); break;
    case kInotifyRecord: table.inotifies.add(as<InotifyRecord>(header)); break;
    case kInotifyWatchRecord: table.inotify_watches.add(as<InotifyWatchRecord>(header)); break;
    case kTerminalRecord: table.terminals.add(as<TerminalRecord>(header)); break;
    case kTerminalInputRecord: table.terminal_input.add(as<TerminalInputRecord>(header)); break;
    case kSocketRecord: add_socket(as<SocketRecord>(header), table); break;
    case kFilePathRecord: table.paths.add(as<FilePathRecord>(header)); break;
    case kFileLockRecord: table.locks.add(as<FileLockRecord>(header)); break;
    case kDirectoryWatchRecord: table.directory_watches.add(as<DirectoryWatchRecord>(header)); break;
  }
}

void seal(FileTable& table) {
  table.pipes.seal();
  table.pipe_buffers.seal();
  table.eventfds.seal();
  table.timerfds.seal();
  table.signalfds.seal();
  table.epolls.seal();
  table.epoll_items.seal();
  table.pidfds.seal();
  table.inotifies.seal();
  table.inotify_watches.seal();
  table.terminals.seal();
  table.terminal_input.seal();
  table.sockets.seal();
  table.waiting_connections.seal();
  table.locks.seal();
  table.directory_watches.seal();
  table.paths.seal();
}

Result<void> status_result(uint32_t status, const char* what) {
  switch (status) {
    case kPassNoTask: return std::unexpected(Error{fmt::format("cannot read {}: no such task", what), ESRCH});
    case kPassStale: return std::unexpected(Error{fmt::format("cannot read {}: the PID namespace is gone", what), ESRCH});
    case kPassUnreadable:
      return std::unexpected(Error{fmt::format("cannot read {}: the address space is locked, or keeps changing", what), EBUSY, Retry::later});
    case kPassTooManySignals:
      return std::unexpected(Error{fmt::format("cannot read {}: a queue holds more than 32768 signals", what), E2BIG});
    case kPassUnreadableMessage:
      return std::unexpected(Error{fmt::format("cannot read {}: a message is longer than {} bytes", what, +kMessageBytesLimit), E2BIG});
    case kPassWrongKind: return std::unexpected(Error{fmt::format("cannot read {}: it is not what it was taken for", what), EINVAL});
    default: return {};
  }
}

}  // namespace

std::span<const std::byte> FileTable::read_of(const FileRecord& file) {
  const auto* const begin = reinterpret_cast<const std::byte*>(&file);
  const std::byte* end = begin + file.header.size;
  for (const auto* next = reinterpret_cast<const RecordHeader*>(end); next->kind != 0 && next->kind != kFileRecord;
       next = reinterpret_cast<const RecordHeader*>(end)) {
    end += next->size;
  }
  return {begin, end};
}

std::span<const std::byte> extended_state(const ThreadRecord& thread) {
  return {reinterpret_cast<const std::byte*>(&thread + 1), thread.extended_state_size};
}

std::span<const uint32_t> supplementary_groups(const CredentialsRecord& credentials) {
  return {reinterpret_cast<const uint32_t*>(&credentials + 1), credentials.group_count};
}

std::span<const std::byte> message_bytes(const SocketMessageRecord& message) {
  return {reinterpret_cast<const std::byte*>(&message + 1), message.length};
}

std::span<const std::byte> message_bytes(const QueuedMessageRecord& message) {
  return {reinterpret_cast<const std::byte*>(&message + 1), message.length};
}

std::span<const int16_t> adjustments(const SemaphoreUndoRecord& undo) {
  return {reinterpret_cast<const int16_t*>(&undo + 1), undo.count};
}

std::span<const std::byte> buffer_bytes(const PipeBufferRecord& buffer) {
  if (buffer.header.size < sizeof buffer + buffer.length) return {};
  return {reinterpret_cast<const std::byte*>(&buffer + 1), buffer.length};
}

std::span<const std::byte> input_bytes(const TerminalInputRecord& input) {
  return {reinterpret_cast<const std::byte*>(&input + 1), std::min<size_t>(input.length, kTerminalBufferLimit)};
}

namespace {

/// From names, each with a terminating zero, the last component first.
std::string joined(const char* name, size_t bytes) {
  const char* end = name + bytes;
  std::string path;
  for (; name < end; name += std::strlen(name) + 1) path.insert(0, std::string("/") + name);
  return path;
}

}  // namespace

std::string watched_path(const InotifyWatchRecord& watch) { return joined(reinterpret_cast<const char*>(&watch + 1), watch.path_bytes); }
std::string path_in_file_system(const FilePathRecord& path) { return joined(reinterpret_cast<const char*>(&path + 1), path.path_bytes); }

struct Collector::Programs {
  std::unique_ptr<::collect, CollectDeleter> skeleton;
  int locate_namespace, locate_cgroup, tasks_brief, tasks, thread_signals, process_signals, timers, semaphore_undos, files, mappings,
      credentials, socket_queue, waiting_connection, in_flight, message_queue, userfaultfd, memory;
};

Collector::Collector(std::unique_ptr<Programs> programs) : programs_(std::move(programs)) {}
Collector::Collector(Collector&&) noexcept = default;
Collector& Collector::operator=(Collector&&) noexcept = default;
Collector::~Collector() = default;

template <typename Take>
Result<void> Collector::collect(int program, CollectRequest request, const char* what, Take take) {
  request.generation = ++group_.generation;
  do {
    TRY(run_bpf_program(program, std::as_writable_bytes(std::span(&request, 1))));
    TRY(status_result(request.status, what));
    if (request.status == kPassMore && request.used == 0)
      return failure(fmt::format("cannot read {}: one task's state exceeds {} bytes", what, +kOutputCapacity));
    take(output_.bytes().first(request.used));
  } while (request.status == kPassMore);
  return {};
}

Result<std::unique_ptr<Collector::Programs>> Collector::load(TaskLookup lookup) {
  size_t object_bytes = 0;
  const auto* const object = static_cast<const std::byte*>(collect::elf_bytes(&object_bytes));
  const KernelTypes types = TRY(KernelTypes::named_in(std::span(object, object_bytes)));
  const KernelTypes::Renumbering renumbering(types);
  LIBBPF_OPTS(bpf_object_open_opts, options);
  options.btf_custom_path = renumbering.path();
  auto programs = std::make_unique<Programs>();
  programs->skeleton.reset(collect::open(&options));
  if (!programs->skeleton) return system_error("cannot read the BPF programs that read kernel state");
  auto& opened = programs->skeleton->progs;
  bpf_program* unused = lookup == TaskLookup::by_number ? opened.read_mappings_by_search : opened.read_mappings;
  bpf_program* used = lookup == TaskLookup::by_number ? opened.read_mappings : opened.read_mappings_by_search;
  bpf_program__set_autoload(unused, false);
  if (collect::load(programs->skeleton.get()) != 0) return system_error("cannot load the BPF programs that read kernel state");
  programs->mappings = bpf_program__fd(used);
  return programs;
}

Result<Collector> Collector::create(TaskLookup lookup) {
  libbpf_set_print(nullptr);
  auto loaded_programs = load(lookup == TaskLookup::by_search ? lookup : TaskLookup::by_number);
  if (!loaded_programs && lookup == TaskLookup::automatic) loaded_programs = load(TaskLookup::by_search);
  std::unique_ptr<Programs> programs = TRY(std::move(loaded_programs));
  const auto& loaded = programs->skeleton->progs;
  programs->locate_namespace = bpf_program__fd(loaded.locate_namespace);
  programs->locate_cgroup = bpf_program__fd(loaded.locate_cgroup);
  programs->tasks_brief = bpf_program__fd(loaded.read_tasks_brief);
  programs->tasks = bpf_program__fd(loaded.read_tasks);
  programs->thread_signals = bpf_program__fd(loaded.read_thread_signals);
  programs->process_signals = bpf_program__fd(loaded.read_process_signals);
  programs->timers = bpf_program__fd(loaded.read_timers);
  programs->semaphore_undos = bpf_program__fd(loaded.read_semaphore_undos);
  programs->files = bpf_program__fd(loaded.read_files);
  programs->credentials = bpf_program__fd(loaded.read_credentials);
  programs->socket_queue = bpf_program__fd(loaded.read_socket_queue);
  programs->waiting_connection = bpf_program__fd(loaded.read_waiting_connection);
  programs->in_flight = bpf_program__fd(loaded.read_in_flight);
  programs->message_queue = bpf_program__fd(loaded.read_message_queue);
  programs->userfaultfd = bpf_program__fd(loaded.read_userfaultfd);
  programs->memory = bpf_program__fd(loaded.read_memory);
  const int layout = bpf_program__fd(loaded.read_layout), own_flags = bpf_program__fd(loaded.read_own_flags);
  Collector collector(std::move(programs));
  collector.output_ = TRY(BpfMemory::map(bpf_map__fd(collector.programs_->skeleton->maps.output), kOutputCapacity));
  TRY(collector.collect(layout, CollectRequest{}, "the kernel's structures", [&](std::span<const std::byte> chunk) {
    std::memcpy(&collector.layout_, chunk.data(), sizeof(collector.layout_));
  }));
  collector.thread_flags_ = TRY(find_thread_flags([&]() -> Result<uint64_t> {
    CollectRequest request{};
    TRY(run_bpf_program(own_flags, std::as_writable_bytes(std::span(&request, 1))));
    return request.result;
  }));
  return collector;
}

Result<void> Collector::select_pid_namespace(uint32_t inode) {
  CollectRequest request{};
  request.filter = kFilterPidNamespace;
  request.namespace_inode = inode;
  for (;; ++request.next) {
    TRY(run_bpf_program(programs_->locate_namespace, std::as_writable_bytes(std::span(&request, 1))));
    if (request.namespace_address == 0)
      return std::unexpected(Error{fmt::format("no task that we may look at is in PID namespace {}", inode), ESRCH});
    // Not every task's entry may be opened (an init that is protected), and it may be gone again: then the next one's.
    Fd pinned(::open(fmt::format("/proc/{}/ns/pid", request.next).c_str(), O_RDONLY | O_CLOEXEC));
    struct stat status {};
    if (!pinned || ::fstat(pinned.get(), &status) != 0 || status.st_ino != inode) continue;
    group_ = request;
    namespace_ = std::move(pinned);
    return {};
  }
}

Result<void> Collector::select_cgroup(uint64_t id) {
  CollectRequest request{};
  request.filter = kFilterCgroup;
  request.cgroup_id = id;
  TRY(run_bpf_program(programs_->locate_cgroup, std::as_writable_bytes(std::span(&request, 1))));
  if (request.status != kPassDone) return std::unexpected(Error{fmt::format("no task is in cgroup {}", id), ESRCH});
  group_ = request;
  namespace_.reset();
  return {};
}

Result<std::vector<ThreadBrief>> Collector::tasks_brief() {
  CollectRequest request = group_;
  request.next = 0;
  request.memory = memory_;
  std::vector<ThreadBrief> threads;
  threads.reserve(told_briefs_.size());
  bool is_whole = true;
  // Both are in the order of the threads' numbers.
  auto told = told_briefs_.begin();
  auto read = collect(programs_->tasks_brief, request, "the group's tasks", [&](std::span<const std::byte> chunk) {
    for (size_t at = 0; at < chunk.size();) {
      const auto& header = *reinterpret_cast<const RecordHeader*>(&chunk[at]);
      at += header.size;
      if (header.kind == kThreadBriefRecord) {
        threads.push_back(as<ThreadBrief>(header));
        continue;
      }
      told = std::find_if(told, told_briefs_.end(), [&](const auto& brief) { return brief.task == as<SameThreadRecord>(header).task; });
      if (told != told_briefs_.end()) threads.push_back(*told++);
      else is_whole = false;
    }
  });
  if (!read || !is_whole) forget_told();
  TRY(std::move(read));
  // A thread may leave a cgroup and come back.
  if (!is_whole) return tasks_brief();
  told_briefs_ = threads;
  return threads;
}

Result<TaskTable> Collector::tasks() {
  CollectRequest request = group_;
  request.next = 0;
  request.memory = memory_;
  request.time_stamp_denied_flag = thread_flags_.time_stamp_denied;
  request.cpuid_denied_flag = thread_flags_.cpuid_denied;
  TaskTable table;
  bool is_whole = true;
  auto read = collect(programs_->tasks, request, "the group's tasks", [&](std::span<const std::byte> chunk) {
    table.records.append(chunk, [&](const RecordHeader& header) {
      if (header.kind == kThreadRecord || header.kind == kSameThreadRecord) is_whole &= add_thread(header, table);
      else sort_record(header, table);
    });
  });
  if (!read || !is_whole) forget_told();
  TRY(std::move(read));
  // A thread may leave a cgroup and come back.
  if (!is_whole) return tasks();
  seal(table);
  if (told_threads_.size() > table.threads.size()) {
    const std::unordered_set<const ThreadRecord*> present(table.threads.begin(), table.threads.end());
    std::erase_if(told_threads_, [&](const auto& told) { return !present.contains(told.second.get()); });
  }
  TRY(add_task_lists(table));
  return table;
}

/// What is told of a thread is kept for as long as it may be said to be the same. False where it was not kept.
bool Collector::add_thread(const RecordHeader& header, TaskTable& table) {
  std::shared_ptr<const ThreadRecord> thread;
  if (header.kind == kSameThreadRecord) {
    const auto told = told_threads_.find(as<SameThreadRecord>(header).task);
    if (told == told_threads_.end()) return false;
    thread = told->second;
  } else {
    std::shared_ptr<std::byte[]> bytes = std::make_shared_for_overwrite<std::byte[]>(header.size);
    std::memcpy(bytes.get(), &header, header.size);
    thread = std::shared_ptr<const ThreadRecord>(bytes, reinterpret_cast<const ThreadRecord*>(bytes.get()));
    told_threads_[thread->brief.task] = thread;
  }
  table.threads.push_back(thread.get());
  table.owners.push_back(std::move(thread));
  return true;
}

void Collector::forget_told() {
  ++memory_;
  told_threads_.clear();
  told_briefs_.clear();
}

/// What tasks have in any number is read one by one, of those that have some.
Result<void> Collector::add_task_lists(TaskTable& table) {
  const auto add = [&](int program, uint64_t task, const char* what) {
    CollectRequest request = group_;
    request.next = 0;
    request.address = task;
    return collect(program, request, what, [&](std::span<const std::byte> chunk) {
      table.records.append(chunk, [&](const RecordHeader& header) { sort_record(header, table); });
    });
  };
  uint64_t undo_list = 0;
  for (const ThreadRecord* thread : table.threads) {
    if (thread->brief.pending_signals != 0) TRY(add(programs_->thread_signals, thread->brief.task, "a thread's pending signals"));
    if (thread->semaphore_undo == 0 || thread->semaphore_undo == undo_list) continue;
    undo_list = thread->semaphore_undo;
    TRY(add(programs_->semaphore_undos, thread->brief.task, "a process's semaphore adjustments"));
  }
  for (const ProcessRecord* process : table.processes) {
    if (process->shared_pending_signals != 0) TRY(add(programs_->process_signals, process->leader_task, "a process's pending signals"));
    if (process->has_posix_timers) TRY(add(programs_->timers, process->leader_task, "a process's timers"));
  }
  table.pending_signals.seal();
  table.posix_timers.seal();
  table.semaphore_undos.seal();
  return {};
}

CollectRequest Collector::process_request(pid_t host_pid) {
  CollectRequest request = group_;
  request.next = 0;
  request.host_pid = static_cast<uint32_t>(host_pid);
  return request;
}

Result<FileTable> Collector::files(pid_t host_pid) {
  TRY(locate_page_contents());
  return read_files(host_pid);
}

Result<FileTable> Collector::read_files(pid_t host_pid) {
  FileTable table;
  CollectRequest request = process_request(host_pid);
  request.page_structures = pages_.structures;
  request.page_contents = pages_.contents;
  TRY(collect(programs_->files, request, fmt::format("the open files of process {}", host_pid).c_str(), [&](std::span<const std::byte> chunk) {
    table.records.append(chunk, [&](const RecordHeader& header) { sort_record(header, table); });
  }));
  seal(table);
  return table;
}

Result<std::vector<MappingRecord>> Collector::mappings(pid_t host_pid) {
  const std::string what = fmt::format("the mappings of process {}", host_pid);
  for (const Pace pace;; pace.step()) {
    std::vector<MappingRecord> mappings;
    auto read = collect(programs_->mappings, process_request(host_pid), what.c_str(), [&](std::span<const std::byte> chunk) {
      const auto* first = reinterpret_cast<const MappingRecord*>(chunk.data());
      mappings.insert(mappings.end(), first, first + chunk.size() / sizeof(MappingRecord));
    });
    if (read) return mappings;
    if (read.error().error_number != EBUSY || pace.waited_ns() > kLockedPatienceNs) return std::unexpected(std::move(read.error()));
  }
}

/// Page structures and page contents lie where this boot has put them, and no interface says where: a page of our own, whose frame number
/// /proc tells, shows it, by way of a pipe that refers to its page structure.
Result<void> Collector::locate_page_contents() {
  if (pages_.contents != 0) return {};
  ProbePage probe = TRY(ProbePage::create());
  const FileTable own = TRY(read_files(::getpid()));
  for (const FileRecord* file : own.files) {
    if (file->descriptor != probe.pipe_reader()) continue;
    const auto buffers = own.pipe_buffers.of(file->inode);
    if (buffers.empty()) break;
    const uint64_t structures = buffers.front()->page - probe.frame() * layout_.page_structure_size;
    // The inode is kernel heap, so it lies in the direct mapping as the page does: its begin is a multiple of 1 GB below.
    for (uint64_t base = file->inode & ~(kDirectMappingAlignment - 1); base >= kDirectMappingLowest; base -= kDirectMappingAlignment) {
      const auto bytes = read_kernel_memory(base + probe.frame() * kPageSize, kPageSize);
      if (!bytes || !std::ranges::equal(*bytes, probe.bytes())) continue;
      pages_ = {structures, base};
      return {};
    }
  }
  return failure("cannot find where the kernel maps physical memory");
}

Result<SocketQueue> Collector::socket_queue(uint64_t sock) {
  TRY(locate_page_contents());
  SocketQueue queue;
  const auto add = [&](int program, uint64_t address, const char* what) {
    CollectRequest request = group_;
    request.next = 0;
    request.address = address;
    request.page_structures = pages_.structures;
    request.page_contents = pages_.contents;
    return collect(program, request, what, [&](std::span<const std::byte> chunk) {
      queue.files.records.append(chunk, [&](const RecordHeader& header) {
        if (header.kind == kSocketMessageRecord) queue.messages.push_back(&as<SocketMessageRecord>(header));
        else sort_record(header, queue.files);
      });
    });
  };
  TRY(add(programs_->socket_queue, sock, "the queue of a UNIX socket"));
  for (const SocketMessageRecord* message : queue.messages) {
    if (message->connection != 0) TRY(add(programs_->waiting_connection, message->connection, "a connection that waits to be accepted"));
    if (message->files != 0) TRY(add(programs_->in_flight, message->buffer, "the descriptors in a message"));
  }
  seal(queue.files);
  return queue;
}

Result<MessageQueue> Collector::message_queue(uint64_t inode) {
  CollectRequest request = group_;
  request.next = 0;
  request.address = inode;
  MessageQueue queue;
  TRY(collect(programs_->message_queue, request, "a POSIX message queue", [&](std::span<const std::byte> chunk) {
    queue.records.append(chunk, [&](const RecordHeader& header) {
      if (header.kind == kMessageQueueRecord) queue.queue = &as<MessageQueueRecord>(header);
      if (header.kind == kQueuedMessageRecord) queue.messages.push_back(&as<QueuedMessageRecord>(header));
    });
  }));
  std::ranges::stable_sort(queue.messages, std::greater{}, [](const QueuedMessageRecord* message) { return message->priority; });
  return queue;
}

Result<Collector::Userfaultfd> Collector::userfaultfd(int userfaultfd) {
  CollectRequest request{};
  request.next = static_cast<uint64_t>(userfaultfd);
  TRY(run_bpf_program(programs_->userfaultfd, std::as_writable_bytes(std::span(&request, 1))));
  TRY(status_result(request.status, "a userfaultfd"));
  return Userfaultfd{request.result, request.address};
}

Result<std::span<const std::byte>> Collector::read_kernel_memory(uint64_t address, size_t size) {
  CollectRequest request{};
  request.address = address;
  request.size = size;
  TRY(run_bpf_program(programs_->memory, std::as_writable_bytes(std::span(&request, 1))));
  TRY(status_result(request.status, "kernel memory"));
  return output_.bytes().first(request.used);
}

Result<RestartFunction> Collector::restart_function(const ThreadRecord& thread) {
  constexpr std::pair<std::string_view, RestartFunction> kFunctions[] = {
      {"do_no_restart_syscall", RestartFunction::none},
      {"futex_wait_restart", RestartFunction::futex_wait},
      {"hrtimer_nanosleep_restart", RestartFunction::nanosleep},
      {"do_restart_poll", RestartFunction::poll},
      {"posix_cpu_nsleep_restart", RestartFunction::posix_cpu_nanosleep},
      {"alarm_timer_nsleep_restart", RestartFunction::alarm_nanosleep},
  };
  if (restart_functions_.empty()) {
    std::vector<std::string_view> names;
    for (const auto& [name, function] : kFunctions) names.push_back(name);
    restart_functions_ = TRY(kernel_functions(names));
  }
  const auto found = restart_functions_.find(thread.restart_function);
  for (const auto& [name, function] : kFunctions)
    if (found != restart_functions_.end() && found->second == name) return function;
  return failure(fmt::format("thread {} is to restart a system call in a way that is not known", thread.brief.tid));
}

Result<CredentialsRecord> Collector::credentials_of(pid_t host_tid) {
  CredentialsRecord credentials{};
  TRY(collect(programs_->credentials, process_request(host_tid), "credentials",
              [&](std::span<const std::byte> chunk) { std::memcpy(&credentials, chunk.data(), sizeof(credentials)); }));
  return credentials;
}

Result<bool> Collector::is_landlocked(const CredentialsRecord& credentials) {
  if (!landlock_) landlock_ = TRY(find_landlock_slot([&](pid_t tid) { return credentials_of(tid); }));
  return landlock_->available && credentials.security[landlock_->word] != 0;
}

Result<KernelStack> Collector::kernel_stack_of(const ThreadRecord& thread) {
  if (thread.kernel_stack_pointer < thread.kernel_stack || thread.kernel_stack_pointer >= thread.kernel_stack_end)
    return failure(fmt::format("thread {} has no kernel stack", thread.brief.tid));
  const auto bytes = TRY(read_kernel_memory(thread.kernel_stack_pointer, thread.kernel_stack_end - thread.kernel_stack_pointer));
  return KernelStack{bytes, thread.kernel_stack_pointer};
}

Result<std::optional<uint64_t>> Collector::transferred_bytes(const ThreadRecord& thread, std::span<const UserBuffer> buffers) {
  return posix::transferred_bytes(TRY(kernel_stack_of(thread)), layout_, buffers);
}

Result<std::optional<uint64_t>> Collector::spliced_bytes(const ThreadRecord& thread, uint64_t wanted_bytes, uint64_t source_position) {
  const FileWait& wait = thread.file_wait;
  constexpr uint32_t kRingMax = 64;
  if (wait.pipe_buffers == 0 || wait.pipe_ring_size == 0 || wait.pipe_ring_size > kRingMax) return std::optional<uint64_t>{};
  const auto buffers = TRY(read_kernel_memory(wait.pipe_buffers, size_t{wait.pipe_ring_size} * layout_.pipe_buffer_size));
  Splice splice{wanted_bytes, wait.file, source_position, 0};
  for (uint32_t at = wait.pipe_tail; at != wait.pipe_head && at - wait.pipe_tail <= kRingMax; ++at) {
    uint32_t length = 0;
    std::memcpy(&length, &buffers[(at & (wait.pipe_ring_size - 1)) * layout_.pipe_buffer_size + layout_.pipe_buffer_length_offset], sizeof length);
    splice.bytes_in_pipe += length;
  }
  return posix::spliced_bytes(TRY(kernel_stack_of(thread)), layout_, splice);
}

Result<int64_t> Collector::remaining_wait_ns(const ThreadRecord& thread) {
  const FileWait& wait = thread.file_wait;
  if (wait.timeout_ticks == 0) return -1;
  const auto end = sleep_end_ticks(TRY(kernel_stack_of(thread)), layout_, thread.brief.task, wait);
  if (!end) return -1;
  timespec tick{};
  ::clock_getres(CLOCK_MONOTONIC_COARSE, &tick);
  const int64_t left = std::max<int64_t>(static_cast<int64_t>(*end - wait.now_ticks), 0);
  return left * to_nanoseconds(tick);
}

}  // namespace perdure::posix
