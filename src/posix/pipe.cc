#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstring>

#include "base/bytes.h"
#include "linux/process.h"
#include "posix/file_kind.h"
#include "posix/kinds.h"

namespace perdure::posix {

namespace {

// PIPE_BUF_FLAG_* of include/linux/pipe_fs_i.h
constexpr uint32_t kPacketBuffer = 0x08;
constexpr uint32_t kMergeableBuffer = 0x10;

Result<void> capture_buffers(const FileSource& source, Pipe& pipe) {
  const PipeRecord* state = source.table.pipes.find(source.record.inode);
  if (state == nullptr) return failure("its state could not be read");
  pipe.set_capacity_bytes(static_cast<uint32_t>(state->max_usage * kPageSize));
  for (const PipeBufferRecord* buffer : source.table.pipe_buffers.of(source.record.inode)) {
    if (buffer->length == 0) continue;
    const auto bytes = buffer_bytes(*buffer);
    if (bytes.empty()) return failure("its contents could not be read");
    PipeBuffer& record = *pipe.add_buffers();
    record.set_data(bytes.data(), bytes.size());
    record.set_packet((buffer->flags & kPacketBuffer) != 0);
    record.set_mergeable((buffer->flags & kMergeableBuffer) != 0);
  }
  return {};
}

Result<void> write_buffer(int write_end, const PipeBuffer& buffer) {
  const int flags = O_NONBLOCK | (buffer.packet() ? O_DIRECT : 0);
  if (fcntl(write_end, F_SETFL, flags) != 0) return system_error("set a pipe's mode");
  const std::string& data = buffer.data();
  if (::write(write_end, data.data(), data.size()) != static_cast<ssize_t>(data.size())) return system_error("fill a pipe");
  return {};
}

/// Puts data into a buffer of its own, to which nothing is added by writing on.
Result<void> splice_buffer(int write_end, const std::string& data) {
  const size_t size = align_up(data.size(), kPageSize);
  void* pages = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return system_error("map pages for a pipe");
  std::memcpy(pages, data.data(), data.size());
  const iovec vector{pages, data.size()};
  const ssize_t done = vmsplice(write_end, &vector, 1, SPLICE_F_NONBLOCK);
  const int error = errno;
  munmap(pages, size);
  if (done == static_cast<ssize_t>(data.size())) return {};
  return std::unexpected(Error{"fill a pipe", done < 0 ? error : 0});
}

Result<void> fill(int write_end, const Pipe& pipe) {
  for (int i = 0; i < pipe.buffers_size(); ++i) {
    const PipeBuffer& buffer = pipe.buffers(i);
    const bool last = i + 1 == pipe.buffers_size();
    const bool apart = buffer.data().size() != kPageSize && !(last && buffer.mergeable());
    TRY(buffer.packet() || !apart ? write_buffer(write_end, buffer) : splice_buffer(write_end, buffer.data()));
  }
  return {};
}

/// Makes or opens the FIFO of that name, so that it lasts while its ends are opened.
Result<Fd> hold_fifo(const Pipe& pipe, const RestoreContext& context) {
  if (!pipe.fifo_deleted()) {
    Fd fifo = TRY(context.open_in_group(pipe.fifo_path(), O_RDWR | O_NONBLOCK));
    struct stat status {};
    if (fstat(fifo.get(), &status) != 0 || !S_ISFIFO(status.st_mode) || status.st_ino != pipe.fifo_inode_number()) {
      return failure(fmt::format("'{}' is another file than at the checkpoint", pipe.fifo_path()));
    }
    return fifo;
  }
  const size_t slash = pipe.fifo_path().rfind('/');
  const Fd directory = TRY(context.open_in_group(pipe.fifo_path().substr(0, slash + 1), O_PATH | O_DIRECTORY));
  const std::string name = fmt::format("{}.perdure-{}-{:x}", pipe.fifo_path().substr(slash + 1), getpid(), pipe.buffer_id());
  if (mkfifoat(directory.get(), name.c_str(), 0600) != 0) return system_error(fmt::format("make FIFO '{}'", name));
  Fd fifo(openat(directory.get(), name.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  unlinkat(directory.get(), name.c_str(), 0);
  if (!fifo) return system_error(fmt::format("open FIFO '{}'", name));
  if (fchmod(fifo.get(), pipe.fifo_mode()) != 0 || fchown(fifo.get(), pipe.fifo_uid(), pipe.fifo_gid()) != 0) {
    return system_error("set the rights of a FIFO");
  }
  return fifo;
}

class PipeKind final : public FileKind {
 public:
  const char* name() const override { return "pipe"; }
  OpenFile::KindCase record_case() const override { return OpenFile::kPipe; }
  bool recognizes(const FileSource& source, const CaptureContext&) const override { return S_ISFIFO(source.record.inode_mode); }

  Result<void> capture(const FileSource& source, CaptureContext& context, OpenFile& file) const override {
    Pipe& pipe = *file.mutable_pipe();
    pipe.set_buffer_id(source.record.inode);
    if (source.record.filesystem_magic != PIPEFS_MAGIC) TRY(capture_name(source, context, pipe));
    if (!context.first_sight(source.record.inode)) return {};
    return capture_buffers(source, pipe);
  }

  Result<Fd> restore(ObjectId, const OpenFile& file, RestoreContext& context) const override {
    const Pipe& pipe = file.pipe();
    if (!context.pairs.contains(pipe.buffer_id())) {
      auto& made = context.pairs[pipe.buffer_id()];
      if (pipe.fifo_path().empty()) {
        std::array<int, 2> ends;
        if (pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return system_error("make a pipe");
        made = {Fd(ends[0]), Fd(ends[1])};
      } else {
        made[0] = TRY(hold_fifo(pipe, context));
        made[1] = TRY(reopen(made[0].get(), O_WRONLY | O_NONBLOCK));
      }
    }
    const int flags = static_cast<int>(file.flags());
    // Opened anew by way of /proc, so that each open file description stays one of its own.
    return reopen(context.pairs[pipe.buffer_id()][0].get(), (flags & O_ACCMODE) | O_NONBLOCK);
  }

  Result<void> connect(ObjectId, const OpenFile& file, int, RestoreContext& context) const override {
    const Pipe& pipe = file.pipe();
    if (pipe.capacity_bytes() == 0) return {};
    const int write_end = context.pairs[pipe.buffer_id()][1].get();
    if (fcntl(write_end, F_SETPIPE_SZ, pipe.capacity_bytes()) < 0) return system_error("size a pipe");
    return fill(write_end, pipe);
  }

 private:
  static Result<void> capture_name(const FileSource& source, CaptureContext& context, Pipe& pipe) {
    std::string path = TRY(context.path_of(source));
    pipe.set_fifo_inode_number(source.record.inode_number);
    if (path.ends_with(kDeleted)) {
      path.resize(path.size() - kDeleted.size());
      struct stat status {};
      const std::string link = fmt::format("/proc/{}/fd/{}", source.host_pid, source.record.descriptor);
      if (::stat(link.c_str(), &status) != 0) return system_error("stat " + link);
      pipe.set_fifo_deleted(true);
      pipe.set_fifo_mode(status.st_mode & 07777);
      pipe.set_fifo_uid(status.st_uid);
      pipe.set_fifo_gid(status.st_gid);
    }
    pipe.set_fifo_path(path);
    return {};
  }

  static Result<Fd> reopen(int fd, int flags) {
    Fd opened(::open(fmt::format("/proc/self/fd/{}", fd).c_str(), flags | O_CLOEXEC));
    if (!opened) return system_error("open a pipe");
    return opened;
  }
};

}  // namespace

const FileKind* pipe_kind() {
  static const PipeKind kind;
  return &kind;
}

}  // namespace perdure::posix
