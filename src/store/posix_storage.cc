// Storage on a directory of the running system.
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>

#include "base/bytes.h"
#include "base/fd.h"
#include "store/async_writes.h"
#include "store/storage.h"

namespace perdure::store {
namespace {

Result<void> check_owner(int fd, const std::string& path) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return system_error("stat " + path);
  if (status.st_uid != ::geteuid())
    return failure(fmt::format("{} belongs to user {}, not to user {} who runs this", path, status.st_uid, ::geteuid()));
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return failure(fmt::format("{} can be written by others (mode {:04o}): chmod go-w it if you trust it", path,
                               status.st_mode & 07777));
  return {};
}

/// Takes `count` bytes off the front of `pieces`.
void consume(std::vector<iovec>& pieces, size_t count) {
  size_t whole = 0;
  while (whole < pieces.size() && count >= pieces[whole].iov_len) count -= pieces[whole++].iov_len;
  pieces.erase(pieces.begin(), pieces.begin() + static_cast<ptrdiff_t>(whole));
  if (count == 0 || pieces.empty()) return;
  pieces[0].iov_base = static_cast<std::byte*>(pieces[0].iov_base) + count;
  pieces[0].iov_len -= count;
}

/// Does slow things one after the other, in a thread that lives only while there are any.
class Background {
 public:
  using Task = std::move_only_function<void(std::stop_token)>;

  void add(Task task) {
    const std::lock_guard guard(mutex_);
    tasks_.push_back(std::move(task));
    if (std::exchange(running_, true)) return;
    thread_ = std::jthread([this](std::stop_token stop) { run(std::move(stop)); });
  }

 private:
  void run(std::stop_token stop) {
    // What waits for the disk here must not make an epoch wait.
    constexpr int kWhoThread = 1;
    constexpr int kIdleClass = 3 << 13;
    ::syscall(SYS_ioprio_set, kWhoThread, 0, kIdleClass);
    for (;;) {
      Task task;
      {
        const std::lock_guard guard(mutex_);
        if (tasks_.empty()) {
          running_ = false;
          return;
        }
        task = std::move(tasks_.front());
        tasks_.pop_front();
      }
      task(stop);
    }
  }

  std::mutex mutex_;
  std::deque<Task> tasks_;
  bool running_ = false;
  std::jthread thread_;
};

/// Whether somebody waits for the disk. The background lets them go first, one at a time: it would never get to work beside many.
class Urgency {
 public:
  void begin() { set(true); }
  void end() { set(false); }
  void let_go_first() {
    constexpr std::chrono::milliseconds kPatience(3);
    std::unique_lock lock(mutex_);
    ended_.wait_for(lock, kPatience, [this, before = ends_] { return !urgent_ || ends_ != before; });
  }

 private:
  void set(bool urgent) {
    {
      const std::lock_guard lock(mutex_);
      urgent_ = urgent;
      if (!urgent) ++ends_;
    }
    if (!urgent) ended_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable ended_;
  bool urgent_ = false;
  uint64_t ends_ = 0;
};

/// What the files of a storage share.
struct Traffic {
  AsyncWrites begun;
  Urgency urgency;
};

/// Writes zeros up to `size`, and flushes them. Errors show when the file is written in earnest.
void write_zeros(int fd, uint64_t size, Urgency& urgency, const std::stop_token& stop) {
  constexpr size_t kChunk = size_t{512} << 10;
  const AlignedBytes zeros = allocate_aligned(kChunk);
  if (!zeros) return;
  std::memset(zeros.get(), 0, kChunk);
  for (uint64_t at = 0; at < size && !stop.stop_requested(); at += kChunk) {
    urgency.let_go_first();
    if (::pwrite(fd, zeros.get(), std::min<uint64_t>(kChunk, size - at), static_cast<off_t>(at)) <= 0) return;
  }
  urgency.let_go_first();
  ::fdatasync(fd);
}

/// Whether all of it is in the page cache (cachestat(2), of Linux 6.5; before, nothing is known to be).
bool is_cached(int fd, uint64_t offset, uint64_t size) {
  constexpr long kCacheStat = 451;
  struct {
    uint64_t offset;
    uint64_t size;
  } range{offset, size};
  struct {
    uint64_t cached, dirty, under_writeback, evicted, recently_evicted;
  } found{};
  return ::syscall(kCacheStat, fd, &range, &found, 0) == 0 && found.cached >= align_up(size, kPageSize) / kPageSize;
}

class PosixFile : public File {
 public:
  PosixFile(Fd fd, std::string path, std::shared_ptr<Traffic> traffic, Background& background)
      : fd_(std::make_shared<Fd>(std::move(fd))), path_(std::move(path)), traffic_(std::move(traffic)), background_(background) {}

  void initialize(uint64_t size) override {
    busy_->store(true);
    background_.add([fd = fd_, traffic = traffic_, busy = busy_, size](const std::stop_token& stop) {
      write_zeros(fd->get(), size, traffic->urgency, stop);
      busy->store(false);
    });
  }
  bool initializing() const override { return busy_->load(); }

  Result<void> write(uint64_t offset, std::span<const iovec> pieces) override {
    std::vector<iovec> left(pieces.begin(), pieces.end());
    while (!left.empty()) {
      const int count = static_cast<int>(std::min<size_t>(left.size(), IOV_MAX));
      const ssize_t written = ::pwritev(fd_->get(), left.data(), count, static_cast<off_t>(offset));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return system_error(fmt::format("write {} at {}", path_, offset));
      if (written == 0) return std::unexpected(Error{fmt::format("write {} at {}", path_, offset), EIO});
      offset += static_cast<uint64_t>(written);
      consume(left, static_cast<size_t>(written));
    }
    return {};
  }

  Result<void> begin_write(uint64_t offset, std::span<const iovec> pieces) override {
    traffic_->urgency.begin();
    for (; !pieces.empty(); pieces = pieces.subspan(std::min<size_t>(pieces.size(), IOV_MAX))) {
      const auto first = pieces.first(std::min<size_t>(pieces.size(), IOV_MAX));
      if (!traffic_->begun.begin(fd_->get(), offset, first)) TRY(write(offset, first));
      for (const iovec& piece : first) offset += piece.iov_len;
    }
    return {};
  }

  Result<void> finish_writes() override {
    Result<void> result;
    for (auto& [offset, pieces, written] : traffic_->begun.finish()) {
      if (!result) continue;
      if (written < 0) {
        result = std::unexpected(Error{fmt::format("write {} at {}", path_, offset), static_cast<int>(-written)});
        continue;
      }
      consume(pieces, static_cast<size_t>(written));
      if (!pieces.empty()) result = write(offset + static_cast<uint64_t>(written), pieces);
    }
    return result;
  }

  Result<void> sync() override {
    const bool flushed = ::fdatasync(fd_->get()) == 0;
    const auto error = system_error("flush " + path_);
    traffic_->urgency.end();
    if (!flushed) return error;
    return {};
  }

  /// Direct writes go past the page cache, and drop from it what they replace: what is there is what was written last.
  Result<size_t> read(uint64_t offset, std::span<std::byte> to) const override {
    Fd buffered;
    if (is_cached(fd_->get(), offset, to.size())) buffered.reset(::open(fmt::format("/proc/self/fd/{}", fd_->get()).c_str(), O_RDONLY | O_CLOEXEC));
    const int fd = buffered ? buffered.get() : fd_->get();
    size_t done = 0;
    while (done < to.size()) {
      const ssize_t got = ::pread(fd, to.data() + done, to.size() - done, static_cast<off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return system_error(fmt::format("read {} at {}", path_, offset + done));
      done += static_cast<size_t>(got);
      // A direct read that stops off a page boundary has met the end of the file; going on from there would be misaligned.
      if (got == 0 || got % 512 != 0) break;
    }
    return done;
  }

  Result<uint64_t> size() const override {
    struct stat status{};
    if (::fstat(fd_->get(), &status) != 0) return system_error("stat " + path_);
    return static_cast<uint64_t>(status.st_size);
  }

  bool try_lock(Lock kind) override {
    return ::flock(fd_->get(), (kind == Lock::shared ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0;
  }
  void unlock() override { ::flock(fd_->get(), LOCK_UN); }

 private:
  std::shared_ptr<Fd> fd_;
  std::string path_;
  std::shared_ptr<Traffic> traffic_;
  Background& background_;
  std::shared_ptr<std::atomic<bool>> busy_ = std::make_shared<std::atomic<bool>>(false);
};

int open_flags(Storage::Access access) {
  switch (access) {
    case Storage::Access::read_only: return O_RDONLY;
    case Storage::Access::read_write: return O_RDWR;
    case Storage::Access::create: return O_RDWR | O_CREAT | O_EXCL;
    case Storage::Access::replace: return O_RDWR | O_CREAT | O_TRUNC;
  }
  return O_RDONLY;
}

class PosixStorage : public Storage {
 public:
  PosixStorage(Fd directory, std::string path) : directory_(std::move(directory)), path_(std::move(path)) {}

  Result<std::vector<std::string>> list() const override {
    const int fd = ::openat(directory_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return system_error("open " + path_);
    DIR* stream = ::fdopendir(fd);
    if (stream == nullptr) {
      auto error = system_error("list " + path_);
      ::close(fd);
      return error;
    }
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(stream)) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(name);
    }
    const int problem = errno;
    ::closedir(stream);
    if (problem != 0) return std::unexpected(Error{"list " + path_, problem});
    return names;
  }

  Result<std::unique_ptr<File>> open(const std::string& name, Access access, Caching caching) override {
    const int flags = open_flags(access) | O_CLOEXEC | O_NOFOLLOW;
    Fd fd(::openat(directory_.get(), name.c_str(), flags | (caching == Caching::direct ? O_DIRECT : 0), 0600));
    if (!fd && errno == EINVAL && caching == Caching::direct) {
      // The file system has no O_DIRECT. With O_CREAT the refusal comes after the file has been made.
      const int again = access == Access::create ? flags & ~O_EXCL : flags;
      fd.reset(::openat(directory_.get(), name.c_str(), again, 0600));
    }
    if (!fd) return system_error("open " + path(name));
    TRY(check_owner(fd.get(), path(name)));
    return std::make_unique<PosixFile>(std::move(fd), path(name), traffic_, background_);
  }

  Result<void> rename(const std::string& from, const std::string& to) override {
    if (::renameat(directory_.get(), from.c_str(), directory_.get(), to.c_str()) != 0)
      return system_error("rename " + path(from) + " to " + to);
    return {};
  }

  Result<void> remove(const std::string& name, std::unique_ptr<File> file) override {
    if (::unlinkat(directory_.get(), name.c_str(), 0) != 0) return system_error("remove " + path(name));
    // The last close frees the blocks, which takes a millisecond per megabyte where the file system discards them.
    removals_.add([file = std::move(file)](const std::stop_token&) mutable { file.reset(); });
    return {};
  }

  Result<void> sync_directory() override {
    if (::fsync(directory_.get()) != 0) return system_error("flush " + path_);
    return {};
  }

  std::string path(const std::string& name) const override { return path_ + "/" + name; }

 private:
  Fd directory_;
  std::string path_;
  std::shared_ptr<Traffic> traffic_ = std::make_shared<Traffic>();
  Background background_;
  Background removals_;  ///< which take longer than what may be waited for
};

}  // namespace

Result<std::shared_ptr<Storage>> open_directory(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return system_error("open " + path);
  TRY(check_owner(fd.get(), path));
  return std::make_shared<PosixStorage>(std::move(fd), path);
}

Result<void> replace_file(Storage& storage, const std::string& name, std::string_view contents) {
  const std::string fresh = name + ".new";
  auto file = TRY(storage.open(fresh, Storage::Access::replace, Storage::Caching::buffered));
  const iovec piece{const_cast<char*>(contents.data()), contents.size()};
  TRY(file->write(0, std::span(&piece, contents.empty() ? 0 : 1)));
  TRY(file->sync());
  TRY(storage.rename(fresh, name));
  return storage.sync_directory();
}

Result<std::string> read_file(Storage& storage, const std::string& name) {
  auto file = TRY(storage.open(name, Storage::Access::read_only, Storage::Caching::buffered));
  std::string contents(TRY(file->size()), '\0');
  const size_t got = TRY(file->read(0, std::as_writable_bytes(std::span(contents))));
  contents.resize(got);
  return contents;
}

}  // namespace perdure::store
