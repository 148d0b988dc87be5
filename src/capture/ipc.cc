// What exists in the group's IPC namespace, whether or not anybody has it open.
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "capture/internal.h"
#include "posix/message_queues.h"
#include "posix/system_v_ipc.h"

namespace perdure::capture {

namespace {

/// The namespace's message queues as a directory, mounted nowhere.
Result<Fd> mount_message_queues() {
  const Fd context(static_cast<int>(syscall(SYS_fsopen, "mqueue", FSOPEN_CLOEXEC)));
  if (!context) return system_error("open the file system of message queues");
  if (syscall(SYS_fsconfig, context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) return system_error("find the group's message queues");
  Fd mount(static_cast<int>(syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC, 0)));
  if (!mount) return system_error("mount the group's message queues");
  Fd directory(openat(mount.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return system_error("open the group's message queues");
  return directory;
}

struct DirectoryEntry {
  uint64_t inode;
  int64_t offset;
  unsigned short size;
  unsigned char type;
  char name[];
};

}  // namespace

/// The names of all queues, by inode number.
Result<std::map<uint64_t, std::string>> Capturer::list_message_queues() {
  if (!message_queues_) message_queues_ = TRY(mount_message_queues());
  std::map<uint64_t, std::string> names;
  lseek(message_queues_.get(), 0, SEEK_SET);
  alignas(DirectoryEntry) std::array<char, 16384> buffer;
  for (;;) {
    const long got = syscall(SYS_getdents64, message_queues_.get(), buffer.data(), buffer.size());
    if (got < 0) return system_error("list the group's message queues");
    if (got == 0) return names;
    for (long at = 0; at < got;) {
      const auto& entry = *reinterpret_cast<const DirectoryEntry*>(buffer.data() + at);
      if (entry.type == DT_REG) names[entry.inode] = entry.name;
      at += entry.size;
    }
  }
}

Result<posix::ObjectId> Capturer::message_queue_object(uint64_t inode, const std::string& name, const std::string& link, PausedState& state) {
  const posix::ObjectId id = identities_.of(ObjectKind::message_queue, inode);
  if (state.records.contains(id)) return id;
  struct stat status {};
  if (::stat(link.c_str(), &status) != 0) return system_error("stat " + link);
  const auto source = TRY(collector_.message_queue(inode));
  record::MessageQueue& record = *state.records[id].mutable_message_queue();
  record.set_name(name);
  posix::describe_message_queue(source, status, record);
  if (record.notify_pid() != 0 && record.notify() == SIGEV_THREAD) {
    return failure(fmt::format("process {} is told of messages in a queue by a thread (SIGEV_THREAD), which cannot be persisted", record.notify_pid()));
  }
  return id;
}

Result<posix::ObjectId> Capturer::Context::message_queue(const posix::FileSource& source) {
  note_unrepeatable();
  const auto name = state_.message_queue_names.find(source.record.inode_number);
  const std::string link = fmt::format("/proc/{}/fd/{}", source.host_pid, source.record.descriptor);
  state_.open_message_queues.insert(source.record.inode_number);
  return capturer_.message_queue_object(source.record.inode, name == state_.message_queue_names.end() || source.record.link_count == 0 ? "" : name->second,
                                        link, state_);
}

/// Those with a name that nobody has open; they are opened here once, to learn where the kernel has them.
Result<void> Capturer::read_closed_message_queues(PausedState& state) {
  std::erase_if(closed_message_queues_, [&](const auto& known) {
    return !state.message_queue_names.contains(known.first) || state.open_message_queues.contains(known.first);
  });
  for (const auto& [number, name] : state.message_queue_names) {
    if (state.open_message_queues.contains(number)) continue;
    auto& [file, inode] = closed_message_queues_[number];
    if (!file) {
      file = Fd(openat(message_queues_.get(), name.c_str(), O_RDONLY | O_CLOEXEC));
      if (!file) return system_error(fmt::format("open message queue '{}'", name));
      const auto own = TRY(collector_.files(getpid()));
      for (const posix::FileRecord* record : own.files) {
        if (record->descriptor == file.get()) inode = record->inode;
      }
    }
    TRY(message_queue_object(inode, name, fmt::format("/proc/self/fd/{}", file.get()), state));
  }
  return {};
}

Result<void> Capturer::read_ipc(PausedState& state) {
  TRY(read_closed_message_queues(state));
  for (auto& set : TRY(posix::capture_semaphores(state.tasks))) {
    *state.records[identities_.of(ObjectKind::semaphores, static_cast<uint64_t>(set.id()))].mutable_system_v_semaphores() = std::move(set);
  }
  for (auto& queue : TRY(posix::capture_messages())) {
    *state.records[identities_.of(ObjectKind::messages, static_cast<uint64_t>(queue.id()))].mutable_system_v_messages() = std::move(queue);
  }
  return {};
}

}  // namespace perdure::capture
