#include "store/writer_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "store/store.h"

namespace perdure::store {
namespace {

constexpr char kLockFile[] = "lock";

/// A reader that looks whether there is a writer holds the lock for an instant.
template <typename Attempt>
bool try_patiently(Attempt&& attempt) {
  constexpr int kAttempts = 5;
  for (int i = 0; i < kAttempts; ++i) {
    if (attempt()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return false;
}

pid_t writer_named_in(const Fd& lock) {
  std::array<char, 32> owner{};
  (void)!::pread(lock.get(), owner.data(), owner.size() - 1, 0);
  return std::atoi(owner.data());
}

std::unexpected<Error> in_use(const std::string& directory, pid_t pid) {
  // Whoever has just taken the lock has yet to write its pid.
  const std::string by = pid == 0 ? "another process" : fmt::format("pid {}", pid);
  return std::unexpected(Error{fmt::format("{}: in use by {}", directory, by), EBUSY});
}

Result<std::unique_ptr<File>> open_lock_file(Storage& storage) {
  auto lock = storage.open(kLockFile, Storage::Access::read_write, Storage::Caching::buffered);
  if (lock || lock.error().error_number != ENOENT) return lock;
  lock = storage.open(kLockFile, Storage::Access::create, Storage::Caching::buffered);
  // Another first writer made it in between.
  if (!lock && lock.error().error_number == EEXIST) return storage.open(kLockFile, Storage::Access::read_write, Storage::Caching::buffered);
  return lock;
}

}  // namespace

Result<std::unique_ptr<File>> take_writer_lock(Storage& storage) {
  auto lock = TRY(open_lock_file(storage));
  if (!try_patiently([&] { return lock->try_lock(File::Lock::exclusive); }))
    return in_use(storage.path("."), std::atoi(read_file(storage, kLockFile).value_or("").c_str()));
  std::string pid = fmt::format("{:<20}\n", ::getpid());
  const iovec piece{pid.data(), pid.size()};
  TRY(lock->write(0, std::span(&piece, 1)));
  return lock;
}

bool has_writer(Storage& storage) {
  auto lock = storage.open(kLockFile, Storage::Access::read_only, Storage::Caching::buffered);
  return lock && !(*lock)->try_lock(File::Lock::shared);
}

std::optional<pid_t> Store::writer_of(const std::string& directory) {
  const Fd lock(::open((directory + "/" + kLockFile).c_str(), O_RDONLY | O_CLOEXEC));
  // As every reader does: who takes the lock tries again.
  if (!lock || ::flock(lock.get(), LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK) return {};
  return writer_named_in(lock);
}

Result<Fd> Store::keep_writers_out(const std::string& directory) {
  const std::string path = directory + "/" + kLockFile;
  constexpr int kFlags = O_RDWR | O_CLOEXEC | O_NOFOLLOW;
  Fd lock(::open(path.c_str(), kFlags));
  if (!lock && errno == ENOENT) lock.reset(::open(path.c_str(), kFlags | O_CREAT, 0600));
  if (!lock) return system_error("open " + path);
  if (try_patiently([&] { return ::flock(lock.get(), LOCK_EX | LOCK_NB) == 0; })) return lock;
  return in_use(directory, writer_named_in(lock));
}

}  // namespace perdure::store
