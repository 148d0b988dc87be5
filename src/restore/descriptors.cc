#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <algorithm>

#include "posix/directory_watch.h"
#include "posix/file_attributes.h"
#include "restore/rebuild.h"

namespace perdure::restore {

namespace {

constexpr size_t kDescriptorsPerMessage = 250;

/// Lays out a recvmsg() in the task's memory.
void add_receive(SyscallBatch& batch, int socket, size_t count) {
  const size_t control_size = CMSG_SPACE(sizeof(int) * count);
  const uint64_t byte = batch.add_value(uint64_t{0});
  const uint64_t vector = batch.add_value(iovec{reinterpret_cast<void*>(byte), 1});
  const uint64_t control = batch.add_data(std::vector<std::byte>(control_size));
  msghdr message{};
  message.msg_iov = reinterpret_cast<iovec*>(vector);
  message.msg_iovlen = 1;
  message.msg_control = reinterpret_cast<void*>(control);
  message.msg_controllen = control_size;
  batch.add("receive descriptors", SYS_recvmsg,
            {static_cast<uint64_t>(socket), batch.add_value(message), MSG_CMSG_CLOEXEC});
}

uint64_t word(int number) { return static_cast<uint64_t>(static_cast<int64_t>(number)); }

/// A thread that takes descriptors into its table, which holds the socket that they come by under the number `transport`.
struct Taker {
  BareProcess& process;
  TracedThread& thread;
  int& transport;
};

Result<void> deliver(const Taker& taker, posix::RestoreContext& context, std::span<const int> descriptors) {
  // The transport moves above everything that will arrive, and all below it is free then.
  const int socket = std::max<int>(taker.transport, static_cast<int>(descriptors.size()));
  SyscallBatch batch(taker.process.stub);
  if (socket != taker.transport) batch.add("move the transport", SYS_dup3, {word(taker.transport), word(socket), O_CLOEXEC});
  taker.transport = socket;
  batch.add("close what init had", SYS_close_range, {0, word(socket - 1), 0});
  batch.add("close what init had", SYS_close_range, {word(socket + 1), ~0u, 0});
  for (size_t at = 0; at < descriptors.size(); at += kDescriptorsPerMessage) {
    const size_t count = std::min(kDescriptorsPerMessage, descriptors.size() - at);
    TRY(send_descriptors(context.init.transport(), descriptors.subspan(at, count)));
    add_receive(batch, socket, count);
    if (batch.nearly_full()) TRY(batch.run(taker.thread, taker.process.memory.get()));
  }
  TRY(batch.run(taker.thread, taker.process.memory.get()));
  return {};
}

Result<void> fill_table(const Taker& taker, posix::ObjectId id, posix::RestoreContext& context) {
  const auto& table = *TRY(context.tree.descriptor_table(id));
  const int memory = taker.process.memory.get();
  std::vector<const posix::Descriptor*> wanted;
  for (const auto& descriptor : table.descriptors()) wanted.push_back(&descriptor);
  std::ranges::sort(wanted, {}, &posix::Descriptor::number);
  std::vector<int> files;
  for (const auto* descriptor : wanted) files.push_back(TRY(context.open_file(descriptor->open_file())));
  TRY(deliver(taker, context, files));

  SyscallBatch batch(taker.process.stub);
  const auto make_room = [&]() -> Result<void> {
    if (batch.nearly_full()) TRY(batch.run(taker.thread, memory));
    return {};
  };
  batch.add("close the transport", SYS_close, {word(taker.transport)});
  // Numbers ascend and arrived as 0, 1, 2, ...: going backwards, no target is still occupied by one that is to be moved.
  for (int arrived = static_cast<int>(wanted.size()) - 1; arrived >= 0; --arrived) {
    const posix::Descriptor& descriptor = *wanted[static_cast<size_t>(arrived)];
    const uint64_t close_on_exec = descriptor.close_on_exec() ? FD_CLOEXEC : 0;
    if (descriptor.number() == arrived) {
      batch.add("set close-on-exec", SYS_fcntl, {word(arrived), F_SETFD, close_on_exec});
    } else {
      batch.add("place a descriptor", SYS_dup3, {word(arrived), word(descriptor.number()), close_on_exec ? uint64_t{O_CLOEXEC} : 0});
      batch.add("place a descriptor", SYS_close, {word(arrived)});
    }
    TRY(make_room());
  }
  for (const auto& lock : table.locks()) {
    const auto by = std::ranges::find(wanted, lock.open_file(), &posix::Descriptor::open_file);
    if (by == wanted.end()) return failure("the checkpoint holds a file lock without its file");
    batch.add("lock a file again", SYS_fcntl, {word((*by)->number()), F_SETLK, batch.add_value(posix::lock_argument(lock))});
    TRY(make_room());
  }
  for (const auto& watch : table.directory_watches()) {
    const auto by = std::ranges::find(wanted, watch.number(), &posix::Descriptor::number);
    if (by == wanted.end()) return failure("the checkpoint holds the watch of a directory (F_NOTIFY) without its descriptor");
    posix::add_directory_watch(batch, watch, *TRY(context.tree.open_file((*by)->open_file())), context);
    TRY(make_room());
  }
  TRY(posix::add_async_flags(batch, table, context, make_room));
  TRY(batch.run(taker.thread, memory));
  return {};
}

/// A thread with a table of its own leaves the process's, while that still has the transport.
Result<void> rebuild_own_table(BareProcess& process, const posix::Thread& record, posix::RestoreContext& context) {
  TracedThread& thread = record.tid() == process.record->pid() ? process.leader : process.threads.at(record.tid());
  SyscallBatch batch(process.stub);
  batch.add("leave the process's descriptor table", SYS_unshare, {CLONE_FILES});
  TRY(batch.run(thread, process.memory.get()));
  int transport = *process.transport;
  return fill_table({process, thread, transport}, record.descriptor_table(), context);
}

}  // namespace

Result<void> deliver_descriptors(BareProcess& process, posix::RestoreContext& context, std::span<const int> descriptors) {
  return deliver({process, process.leader, *process.transport}, context, descriptors);
}

Result<void> rebuild_descriptors(BareProcess& process, posix::RestoreContext& context) {
  for (const posix::Thread* thread : context.tree.threads(process.record->pid())) {
    if (thread->descriptor_table() != 0) TRY(rebuild_own_table(process, *thread, context));
  }
  // Of processes that share one, the first does it for all.
  if (!context.filled_tables.insert(process.record->descriptor_table()).second) return {};
  return fill_table({process, process.leader, *process.transport}, process.record->descriptor_table(), context);
}

}  // namespace perdure::restore
