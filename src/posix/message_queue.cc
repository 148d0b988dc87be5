#include <fcntl.h>
#include <fmt/format.h>
#include <mqueue.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "posix/file_kind.h"
#include "posix/kinds.h"
#include "posix/message_queues.h"

namespace perdure::posix {

namespace {

class MessageQueueKind final : public FileKind {
 public:
  const char* name() const override { return "mqueue"; }
  OpenFile::KindCase record_case() const override { return OpenFile::kMessageQueue; }

  bool recognizes(const FileSource& source, const CaptureContext&) const override {
    return source.record.filesystem_magic == kMessageQueueMagic && S_ISREG(source.record.inode_mode);
  }

  Result<void> capture(const FileSource& source, CaptureContext& context, OpenFile& file) const override {
    file.mutable_message_queue()->set_queue(TRY(context.message_queue(source)));
    return {};
  }

  Result<Fd> restore(ObjectId, const OpenFile& file, RestoreContext& context) const override {
    const int queue = TRY(context.message_queue(file.message_queue().queue()));
    const int flags = static_cast<int>(file.flags()) & (O_ACCMODE | O_NONBLOCK);
    Fd fd(::open(fmt::format("/proc/self/fd/{}", queue).c_str(), flags | O_CLOEXEC));
    if (!fd) return system_error("open a message queue");
    return fd;
  }
};

}  // namespace

const FileKind* message_queue_kind() {
  static const MessageQueueKind kind;
  return &kind;
}

void describe_message_queue(const MessageQueue& source, const struct stat& status, record::MessageQueue& record) {
  record.set_mode(status.st_mode & 07777);
  record.set_uid(status.st_uid);
  record.set_gid(status.st_gid);
  record.set_message_limit(source.queue->message_limit);
  record.set_message_size_limit(source.queue->message_size_limit);
  for (const QueuedMessageRecord* message : source.messages) {
    record::QueuedMessage& queued = *record.add_messages();
    queued.set_priority(message->priority);
    queued.set_text(message_bytes(*message).data(), message->length);
  }
  if (source.queue->notify_host_pid == 0) return;
  record.set_notify_pid(static_cast<int>(source.queue->notify_pid));
  record.set_notify(static_cast<int>(source.queue->notify));
  record.set_notify_signal(static_cast<int>(source.queue->notify_signal));
  record.set_notify_value(source.queue->notify_value);
}

Result<Fd> restore_message_queue(ObjectId id, const record::MessageQueue& queue) {
  const bool unlinked = queue.name().empty();
  const std::string name = unlinked ? fmt::format("/.perdure-{}", id) : "/" + queue.name();
  mq_attr attributes{};
  attributes.mq_maxmsg = static_cast<long>(queue.message_limit());
  attributes.mq_msgsize = static_cast<long>(queue.message_size_limit());
  Fd fd(mq_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK | O_CLOEXEC, 0600, &attributes));
  if (!fd) return system_error(fmt::format("make message queue '{}'", name));
  if (unlinked) mq_unlink(name.c_str());
  for (const record::QueuedMessage& message : queue.messages()) {
    if (mq_send(fd.get(), message.text().data(), message.text().size(), message.priority()) != 0) {
      return system_error(fmt::format("fill message queue '{}'", name));
    }
  }
  if (fchown(fd.get(), queue.uid(), queue.gid()) != 0 || fchmod(fd.get(), queue.mode()) != 0) {
    return system_error(fmt::format("set the rights of message queue '{}'", name));
  }
  return fd;
}

void add_notification(SyscallBatch& batch, int descriptor, const record::MessageQueue& queue) {
  sigevent event{};
  event.sigev_notify = queue.notify();
  event.sigev_signo = queue.notify_signal();
  event.sigev_value.sival_ptr = reinterpret_cast<void*>(queue.notify_value());
  batch.add("ask to be told of messages", SYS_mq_notify, {static_cast<uint64_t>(descriptor), batch.add_value(event)});
}

}  // namespace perdure::posix
