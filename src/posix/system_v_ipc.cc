#include "posix/system_v_ipc.h"

#include <fmt/format.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <array>

#include "linux/process.h"

namespace perdure::posix {

namespace {

constexpr int kHighestValue = 32767;  // SEMVMX
constexpr int kCopyMessage = 040000;  // MSG_COPY of linux/msg.h

union SemaphoreArgument {
  int value;
  semid_ds* status;
  unsigned short* array;
  seminfo* information;
};

template <typename Record>
void describe_owner(const ipc_perm& owner, Record& record) {
  record.set_key(owner.__key);
  record.set_mode(owner.mode & 0777);
  record.set_uid(owner.uid);
  record.set_gid(owner.gid);
  record.set_creator_uid(owner.cuid);
  record.set_creator_gid(owner.cgid);
}

/// A message as msgsnd and msgrcv take it.
struct MessageBuffer {
  explicit MessageBuffer(size_t size) : words(1 + (size + sizeof(long) - 1) / sizeof(long)) {}
  long& type() { return words[0]; }
  char* text() { return reinterpret_cast<char*>(words.data() + 1); }
  std::vector<long> words;
};

void add_undos(const TaskTable& tasks, SystemVSemaphores& set) {
  for (const ThreadRecord* thread : tasks.threads) {
    if (thread->semaphore_undo == 0 || thread->brief.tid != thread->brief.tgid) continue;
    for (const SemaphoreUndoRecord* undo : tasks.semaphore_undos.of(thread->semaphore_undo)) {
      if (undo->set != set.id()) continue;
      SemaphoreUndo& record = *set.add_undos();
      record.set_pid(static_cast<int>(thread->brief.tgid));
      for (const int16_t adjustment : adjustments(*undo)) record.add_adjustments(adjustment);
    }
  }
}

Result<void> want_id(const char* kind, int id) { return write_file(fmt::format("/proc/sys/kernel/{}_next_id", kind), std::to_string(id)); }

/// Makes the object as its creator did: the creator's ids cannot be set afterwards. The raw calls change this thread alone.
template <typename Record, typename Make>
int make_as_creator(const Record& record, Make make) {
  const bool other = record.creator_uid() != 0 || record.creator_gid() != 0;
  if (other) syscall(SYS_setresgid, -1, record.creator_gid(), -1);
  if (other) syscall(SYS_setresuid, -1, record.creator_uid(), -1);
  const int id = make();
  const int error = errno;
  if (other) syscall(SYS_setresuid, -1, 0, -1);
  if (other) syscall(SYS_setresgid, -1, 0, -1);
  errno = error;
  return id;
}

}  // namespace

Result<std::vector<SystemVSemaphores>> capture_semaphores(const TaskTable& tasks) {
  std::vector<SystemVSemaphores> sets;
  seminfo information{};
  const int highest = semctl(0, 0, SEM_INFO, SemaphoreArgument{.information = &information});
  if (highest < 0) return system_error("list System V semaphores");
  for (int index = 0; information.semusz > 0 && index <= highest; ++index) {
    semid_ds status{};
    const int id = semctl(index, 0, SEM_STAT_ANY, SemaphoreArgument{.status = &status});
    if (id < 0) continue;
    SystemVSemaphores& set = sets.emplace_back();
    set.set_id(id);
    describe_owner(status.sem_perm, set);
    std::vector<unsigned short> values(status.sem_nsems);
    if (semctl(id, 0, GETALL, SemaphoreArgument{.array = values.data()}) < 0) return system_error(fmt::format("read semaphore set {}", id));
    for (const unsigned short value : values) set.add_values(value);
    add_undos(tasks, set);
  }
  return sets;
}

Result<std::vector<SystemVMessages>> capture_messages() {
  std::vector<SystemVMessages> queues;
  msginfo information{};
  const int highest = msgctl(0, MSG_INFO, reinterpret_cast<msqid_ds*>(&information));
  if (highest < 0) return system_error("list System V message queues");
  for (int index = 0; information.msgpool > 0 && index <= highest; ++index) {
    msqid_ds status{};
    const int id = msgctl(index, MSG_STAT_ANY, &status);
    if (id < 0) continue;
    SystemVMessages& queue = queues.emplace_back();
    queue.set_id(id);
    describe_owner(status.msg_perm, queue);
    queue.set_byte_limit(status.msg_qbytes);
    MessageBuffer buffer(status.__msg_cbytes);
    for (size_t number = 0; number < status.msg_qnum; ++number) {
      const ssize_t size = msgrcv(id, buffer.words.data(), status.__msg_cbytes, static_cast<long>(number), kCopyMessage | IPC_NOWAIT);
      if (size < 0) return system_error(fmt::format("read System V message queue {}", id));
      SystemVMessage& message = *queue.add_messages();
      message.set_type(buffer.type());
      message.set_text(buffer.text(), static_cast<size_t>(size));
    }
  }
  return queues;
}

Result<void> restore_semaphores(const SystemVSemaphores& set) {
  TRY(want_id("sem", set.id()));
  const int id = make_as_creator(set, [&] { return semget(set.key(), set.values_size(), IPC_CREAT | IPC_EXCL | static_cast<int>(set.mode())); });
  if (id < 0) return system_error(fmt::format("make semaphore set {}", set.id()));
  if (id != set.id()) return failure(fmt::format("semaphore set {} became {}", set.id(), id));
  std::vector<unsigned short> values(set.values().begin(), set.values().end());
  if (semctl(id, 0, SETALL, SemaphoreArgument{.array = values.data()}) < 0) return system_error("set semaphores");
  semid_ds status{};
  status.sem_perm.uid = set.uid();
  status.sem_perm.gid = set.gid();
  status.sem_perm.mode = static_cast<unsigned short>(set.mode());
  if (semctl(id, 0, IPC_SET, SemaphoreArgument{.status = &status}) < 0) return system_error("set the owner of semaphores");
  return {};
}

Result<void> restore_messages(const SystemVMessages& queue) {
  TRY(want_id("msg", queue.id()));
  const int id = make_as_creator(queue, [&] { return msgget(queue.key(), IPC_CREAT | IPC_EXCL | static_cast<int>(queue.mode())); });
  if (id < 0) return system_error(fmt::format("make System V message queue {}", queue.id()));
  if (id != queue.id()) return failure(fmt::format("System V message queue {} became {}", queue.id(), id));
  msqid_ds status{};
  if (msgctl(id, IPC_STAT, &status) < 0) return system_error("look at a System V message queue");
  for (const SystemVMessage& message : queue.messages()) {
    MessageBuffer buffer(message.text().size());
    buffer.type() = message.type();
    std::memcpy(buffer.text(), message.text().data(), message.text().size());
    if (msgsnd(id, buffer.words.data(), message.text().size(), IPC_NOWAIT) < 0) {
      return system_error(fmt::format("fill System V message queue {}", id));
    }
  }
  status.msg_perm.uid = queue.uid();
  status.msg_perm.gid = queue.gid();
  status.msg_perm.mode = static_cast<unsigned short>(queue.mode());
  status.msg_qbytes = queue.byte_limit();
  if (msgctl(id, IPC_SET, &status) < 0) return system_error("set the limits of a System V message queue");
  return {};
}

Result<void> add_semaphore_undos(SyscallBatch& batch, int pid, const ObjectTree& tree) {
  for (const auto& [id, object] : tree.objects()) {
    if (!object.has_system_v_semaphores()) continue;
    const SystemVSemaphores& set = object.system_v_semaphores();
    for (const SemaphoreUndo& undo : set.undos()) {
      if (undo.pid() != pid) continue;
      for (int i = 0; i < undo.adjustments_size() && i < set.values_size(); ++i) {
        const int adjustment = undo.adjustments(i);
        if (adjustment == 0) continue;
        const auto number = static_cast<unsigned short>(i);
        // An operation with SEM_UNDO notes its opposite; one without it takes it back from the value.
        const sembuf noted{number, static_cast<short>(-adjustment), SEM_UNDO};
        const sembuf taken_back{number, static_cast<short>(adjustment), 0};
        const int value = static_cast<int>(set.values(i));
        const bool noted_first = value - adjustment >= 0 && value - adjustment <= kHighestValue;
        const std::array<sembuf, 2> operations = noted_first ? std::array{noted, taken_back} : std::array{taken_back, noted};
        batch.add("note what exit undoes", SYS_semop, {static_cast<uint64_t>(set.id()), batch.add_value(operations), operations.size()});
      }
    }
  }
  return {};
}

}  // namespace perdure::posix
