// Descriptors that travel in messages of UNIX sockets (SCM_RIGHTS): open files that perhaps no process has.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "capture/internal.h"
#include "posix/unix_queue.h"

namespace perdure::capture {

Result<const posix::SocketQueue*> Capturer::Context::socket_queue(uint64_t sock, const posix::FileSource* receiver) {
  note_unrepeatable();
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
      all_known &= is_met(file->file);
    }
    if (all_known) continue;
    if (!in_flight->receiver) {
      for (const posix::FileRecord* file : files) TRY(capture_out_of_reach(*file, in_flight->queue->files, context, state));
      continue;
    }
    const Fd receiver = TRY(context.duplicate(*in_flight->receiver));
    auto peeked = TRY(posix::peek_descriptors(receiver.get(), *in_flight->queue, *in_flight->message));
    if (peeked.size() != files.size()) return failure("the descriptors in flight in a UNIX socket cannot be reached");
    for (size_t at = 0; at < files.size(); ++at) {
      posix::FileRecord& record = context.keep(*files[at]);
      record.descriptor = context.keep(std::move(peeked[at]));
      TRY(capture_file({record, getpid(), 0, in_flight->queue->files}, nullptr, known_file(record.file), context, state));
    }
  }
  return {};
}

/// Nobody can peek at what a connection holds that is not accepted yet: its files are found by their paths, as far as their kinds need any.
Result<void> Capturer::capture_out_of_reach(const posix::FileRecord& file, const posix::FileTable& table, Context& context, PausedState& state) {
  if (is_met(file.file)) return {};
  posix::FileRecord& record = context.keep(file);
  const auto* path = table.paths.find(file.file);
  if (path != nullptr && file.link_count != 0 && (S_ISREG(file.inode_mode) || S_ISDIR(file.inode_mode) || S_ISCHR(file.inode_mode))) {
    const std::string within = TRY(context.path_within_group(options_.init_pid, file.device, path_in_file_system(*path)));
    Fd found(::open(fmt::format("/proc/{}/root{}", options_.init_pid, within).c_str(), O_PATH | O_CLOEXEC));
    struct stat status {};
    if (!found || fstat(found.get(), &status) != 0 || status.st_ino != file.inode_number) {
      return failure(fmt::format("'{}' is in flight over a UNIX connection that is not accepted yet, and is not where it was opened", within));
    }
    record.descriptor = context.keep(std::move(found));
  }
  auto captured = capture_file({record, getpid(), 0, table}, nullptr, known_file(record.file), context, state);
  if (captured || record.descriptor >= 0) return captured;
  return std::unexpected(std::move(captured.error()).in("a descriptor is in flight over a UNIX connection that is not accepted yet, and no process has another of its file"));
}

}  // namespace perdure::capture
