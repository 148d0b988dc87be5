// Descriptors that travel in messages of UNIX sockets (SCM_RIGHTS): open files that perhaps no process has.
#include <unistd.h>

#include "capture/internal.h"
#include "posix/unix_queue.h"

namespace perdure::capture {

Result<const posix::SocketQueue*> Capturer::Context::socket_queue(uint64_t sock, const posix::FileSource* receiver) {
  const posix::SocketQueue& queue = queues_.emplace_back(TRY(capturer_.collector_.socket_queue(sock)));
  for (const posix::SocketMessageRecord* message : queue.messages) {
    if (message->file_count == 0) continue;
    in_flight_.push_back({&queue, message, receiver == nullptr ? std::nullopt : std::optional(*receiver)});
  }
  return &queue;
}

std::optional<Capturer::Context::InFlight> Capturer::Context::next_in_flight() {
  if (in_flight_.empty()) return {};
  InFlight next = in_flight_.front();
  in_flight_.pop_front();
  return next;
}

/// Where no process has a descriptor, peeking at the message gives us one, for as long as the capture takes.
Result<void> Capturer::capture_in_flight(Context& context, PausedState& state) {
  while (const auto in_flight = context.next_in_flight()) {
    std::vector<const posix::FileRecord*> files;
    bool all_known = true;
    for (const posix::FileRecord* file : in_flight->queue->files.files) {
      if (file->message != in_flight->message->buffer) continue;
      files.push_back(file);
      const auto known = state.records.find(context.file_object(file->file));
      all_known &= known != state.records.end() && known->second.open_file().kind_case() != posix::OpenFile::KIND_NOT_SET;
    }
    if (all_known) continue;
    if (!in_flight->receiver) {
      return failure("descriptors are in flight over a UNIX connection that is not accepted yet, and no process has others of those files");
    }
    const Fd receiver = TRY(context.duplicate(*in_flight->receiver));
    auto peeked = TRY(posix::peek_descriptors(receiver.get(), *in_flight->queue, *in_flight->message));
    if (peeked.size() != files.size()) return failure("the descriptors in flight in a UNIX socket cannot be reached");
    for (size_t at = 0; at < files.size(); ++at) {
      posix::FileRecord& record = context.keep(*files[at]);
      record.descriptor = context.keep(std::move(peeked[at]));
      TRY(capture_file({record, getpid(), 0, in_flight->queue->files}, context, state));
    }
  }
  return {};
}

}  // namespace perdure::capture
