#include "restore/restore.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "posix/epoll.h"
#include "posix/file_attributes.h"
#include "posix/file_kind.h"
#include "posix/message_queues.h"
#include "posix/system_v_ipc.h"
#include "posix/vdso.h"
#include "restore/rebuild.h"

namespace perdure::restore {

namespace {

/// Calls rebuild(process) of each process that is alive.
template <typename Rebuild>
Result<void> for_each_live(const std::map<int, std::unique_ptr<BareProcess>>& processes, Rebuild rebuild) {
  for (const auto& [pid, process] : processes) {
    if (process->record->zombie()) continue;
    auto rebuilt = rebuild(*process);
    if (!rebuilt) return std::unexpected(std::move(rebuilt.error()).in(fmt::format("process {}", pid)));
  }
  return {};
}

Result<void> rebuild_memory(const std::map<int, std::unique_ptr<BareProcess>>& processes, posix::RestoreContext& context, uint64_t offset,
                            memory::LazyFill* lazy) {
  TRY(for_each_live(processes, [&](BareProcess& process) -> Result<void> {
    TRY(clear_address_space(process, *TRY(context.tree.address_space(process.record->address_space())), offset));
    return map_address_space(process, context);
  }));
  TRY(fill_private_pages(processes, context, offset, lazy));
  return for_each_live(processes, [&](BareProcess& process) -> Result<void> {
    TRY(finish_address_space(process, context));
    return create_threads(process, context);
  });
}

/// Open files refer to one another (epoll, queued descriptors): they are connected when all of them exist.
Result<void> connect_files(posix::RestoreContext& context) {
  for (const bool last : {false, true}) {
    for (const auto& [id, object] : context.tree.objects()) {
      if (!object.has_open_file()) continue;
      TRY(context.open_file(id));
      if (posix::file_kind_of(object.open_file())->connects_last() == last) TRY(context.connect_file(id));
    }
  }
  for (const auto& [id, object] : context.tree.objects()) {
    if (!object.has_open_file() || !posix::file_kind_of(object.open_file())->keeps_flags()) continue;
    TRY(posix::restore_file_attributes(TRY(context.open_file(id)), id, context));
  }
  return {};
}

Result<void> settle_files(posix::RestoreContext& context) {
  for (const auto& [id, object] : context.tree.objects()) {
    if (!object.has_open_file()) continue;
    TRY(posix::file_kind_of(object.open_file())->settle(object.open_file(), TRY(context.open_file(id))));
  }
  return {};
}

/// What exists in the IPC namespace (this thread is in it), whoever uses it.
Result<void> restore_ipc(posix::RestoreContext& context) {
  for (const auto& [id, object] : context.tree.objects()) {
    if (object.has_system_v_semaphores()) TRY(posix::restore_semaphores(object.system_v_semaphores()));
    if (object.has_system_v_messages()) TRY(posix::restore_messages(object.system_v_messages()));
    if (object.has_message_queue()) TRY(context.message_queue(id));
  }
  return {};
}

/// What of it only the process itself can ask for.
Result<void> rebuild_ipc(BareProcess& process, posix::RestoreContext& context) {
  SyscallBatch batch(process.stub);
  const int pid = process.record->pid();
  std::set<posix::ObjectId> asked;
  const auto& table = *TRY(context.tree.descriptor_table(process.record->descriptor_table()));
  TRY(posix::add_semaphore_undos(batch, pid, context.tree));
  TRY(posix::add_signal_watches(batch, table, context.tree, context.signal_watches));
  for (const auto& descriptor : table.descriptors()) {
    const auto& file = *TRY(context.tree.open_file(descriptor.open_file()));
    if (!file.has_message_queue()) continue;
    const auto queue = context.tree.objects().find(file.message_queue().queue());
    if (queue == context.tree.objects().end() || queue->second.message_queue().notify_pid() != pid) continue;
    if (asked.insert(queue->first).second) posix::add_notification(batch, descriptor.number(), queue->second.message_queue());
  }
  TRY(batch.run(process.leader, process.memory.get()));
  return {};
}

/// Has the signal act on a bare task, which has blocked it so far. The wait(2) status that follows.
Result<int> deliver(BareProcess& process, int signal) {
  TRY(process.leader.set_signal_mask(0));
  if (kill(process.host_pid, signal) != 0) return system_error(fmt::format("signal process {}", process.record->pid()));
  for (;;) {
    const int status = TRY(process.leader.resume_and_wait(PTRACE_CONT));
    if (status >> 16 == 0 && WSTOPSIG(status) == signal) break;
  }
  return process.leader.resume_and_wait(PTRACE_CONT, signal);
}

/// A zombie is born like any other, and then dies the same death again: early, since its parent's dispositions would act on the news.
Result<void> end_zombie(BareProcess& process, uint64_t offset) {
  const int code = process.record->exit_code();
  const int signal = code & 0x7f;
  const uint64_t scratch = TRY(process.leader.registers()).rsp - kPageSize;
  const std::string& name = process.record->name();
  TRY(write_memory(process.memory.get(), scratch, std::as_bytes(std::span(name.c_str(), name.size() + 1))));
  {
    auto remote = TRY(RemoteSyscalls::begin(process.leader, process.vdso + offset));
    TRY(remote.checked("name a zombie", SYS_prctl, {PR_SET_NAME, scratch}));
    // What ends in the following looks like a failure to drive the task, and is none.
    if (signal == 0) {
      (void)remote.call(SYS_exit_group, {static_cast<uint64_t>(code >> 8 & 0xff)});
      return {};
    }
  }
  const rlimit64 no_core{0, 0};
  prlimit64(process.host_pid, RLIMIT_CORE, &no_core, nullptr);
  if (signal != SIGKILL) {
    (void)deliver(process, signal);
    if (process.leader.gone()) return {};
  }
  kill(process.host_pid, SIGKILL);
  process.leader.forget();
  int status = 0;
  while (waitpid(process.host_pid, &status, __WALL) == process.host_pid && !WIFSIGNALED(status) && !WIFEXITED(status)) {
  }
  return {};
}

/// Stops a process as job control had: driven by ptrace it can still be, and when it is let go, the stop takes hold.
Result<void> stop_again(ProcessTree& tree, BareProcess& process, uint64_t offset) {
  const bool parent_was_told = process.record->stop_signal() == 0;
  const int status = TRY(deliver(process, parent_was_told ? SIGSTOP : process.record->stop_signal()));
  if (status >> 16 != PTRACE_EVENT_STOP) return failure(fmt::format("process {} does not stop", process.record->pid()));
  TRY(process.leader.set_signal_mask(TracedThread::kAllSignals));
  const auto parent = tree.processes().find(process.record->parent_pid());
  if (!parent_was_told || parent == tree.processes().end()) return {};
  BareProcess& waiter = *parent->second;
  auto remote = TRY(RemoteSyscalls::begin(waiter.leader, waiter.vdso + offset));
  TRY(remote.checked("take note of a stopped child", SYS_wait4,
                     {static_cast<uint64_t>(process.record->pid()), 0, WUNTRACED | WNOHANG | __WALL, 0}));
  return {};
}

/// A process that was let go into a stop of job control needs a moment to come to rest there.
void await_stopped(const std::map<int, std::unique_ptr<BareProcess>>& processes) {
  const int64_t deadline_ns = monotonic_ns() + kNanosecondsPerSecond;
  for (const auto& [pid, process] : processes) {
    if (!process->record->stopped()) continue;
    while (process_state(process->host_pid) != 'T' && monotonic_ns() < deadline_ns) usleep(50);
  }
}

/// Ends a process's first thread alone: it is let go right before its exit(2).
Result<void> let_leader_exit(BareProcess& process, uint64_t offset) {
  user_regs_struct registers = TRY(process.leader.registers());
  uint64_t vdso = 0;
  for (const auto& mapping : TRY(special_mappings(process.host_pid))) {
    if (mapping.name == "[vdso]") vdso = mapping.start;
  }
  registers.rip = vdso + offset;
  registers.rax = SYS_exit;
  registers.rdi = static_cast<uint64_t>(process.record->exit_code() >> 8 & 0xff);
  registers.orig_rax = ~0ull;
  TRY(process.leader.set_registers(registers));
  return process.leader.set_signal_mask(TracedThread::kAllSignals);
}

}  // namespace

Result<RebuiltGroup> RebuiltGroup::build(posix::RestoreContext& context, memory::LazyFill* lazy) {
  const uint64_t offset = TRY(find_vdso_syscall_offset());
  TRY(posix::check_vdso(*TRY(context.tree.group())));
  TRY(enter_ipc_namespace(context.init.init_pid()));
  TRY(posix::make_unix_sockets(context));
  TRY(posix::make_terminals(context));
  TRY(set_up_group_terminal(context));
  RebuiltGroup group(TRY(ProcessTree::build(context, offset)), context);
  for (auto& [pid, process] : group.processes()) {
    if (process->record->zombie()) TRY(end_zombie(*process, offset));
    else if (process->record->stopped()) TRY(stop_again(group.tree_, *process, offset));
  }
  TRY(rebuild_memory(group.processes(), context, offset, lazy));
  return group;
}

Result<void> RebuiltGroup::finish() {
  posix::RestoreContext& context = *context_;
  const uint64_t offset = TRY(find_vdso_syscall_offset());
  TRY(context.finish_memory_inodes());
  for (auto& [pid, process] : processes()) {
    context.note_task(pid, process->host_pid);
    for (auto& [tid, thread] : process->threads) context.note_task(tid, thread.tid());
  }
  TRY(restore_ipc(context));
  TRY(connect_files(context));
  TRY(for_each_live(processes(), [&](BareProcess& process) -> Result<void> {
    TRY(rebuild_descriptors(process, context));
    TRY(rebuild_terminal(process, context));
    TRY(rebuild_ipc(process, context));
    TRY(rebuild_attributes(process, context));
    TRY(finish_threads(process, context, offset));
    return process.record->leader_exited() ? let_leader_exit(process, offset) : Result<void>{};
  }));
  TRY(settle_files(context));
  context.close_files();
  return {};
}

/// Those that job control has stopped come to rest in that stop before anybody can look at them.
Result<void> RebuiltGroup::resume() {
  for (const bool stopped : {true, false}) {
    if (!stopped) await_stopped(processes());
    for (auto& [pid, process] : processes()) {
      if (process->record->stopped() != stopped) continue;
      process->released = true;
      for (auto& [tid, thread] : process->threads) thread.detach();
      process->leader.detach();
    }
  }
  return {};
}

}  // namespace perdure::restore
