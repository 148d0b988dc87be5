// What the store asks of a file system, behind an interface, so that tests can tear, lose and fail every operation.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace perdure::store {

/// One open file. Reads may come from several threads; everything else from one.
class File {
 public:
  virtual ~File() = default;
  /// Writes the pieces one behind the other from `offset` on. On error any part of them may have been written. For a file opened
  /// direct, addresses, lengths and offset are multiples of kPageSize.
  virtual Result<void> write(uint64_t offset, std::span<const iovec> pieces) = 0;
  /// Begins what write() does. The memory of the pieces stays as it is until finish_writes() has returned, which must come before the next sync(), read()
  /// of what was written or begin_write() to another file of the storage. In what order the bytes of several such writes reach the disk is open.
  virtual Result<void> begin_write(uint64_t offset, std::span<const iovec> pieces) = 0;
  /// Waits for all writes that were begun; an error of any of them is the result.
  virtual Result<void> finish_writes() = 0;
  /// fdatasync: what was written before survives power loss. After an error, what was written since the last success counts as lost.
  virtual Result<void> sync() = 0;
  /// Reads up to to.size() bytes; fewer only at the end of the file. Aligned like write.
  virtual Result<size_t> read(uint64_t offset, std::span<std::byte> to) const = 0;
  virtual Result<uint64_t> size() const = 0;
  /// Fills the (empty) file with `size` bytes of zeros, perhaps in the background: overwriting them later is faster than appending.
  virtual void initialize(uint64_t size) = 0;
  virtual bool initializing() const = 0;
  enum class Lock { shared, exclusive };
  /// flock without waiting; false when another holder is in the way.
  virtual bool try_lock(Lock kind) = 0;
  virtual void unlock() = 0;
};

/// One directory of files. Files may outlive it; only initialize must not be called then.
class Storage {
 public:
  enum class Access {
    read_only,
    read_write,
    create,   ///< read and write; an error when the file exists
    replace,  ///< read and write; created, or cut to nothing
  };
  enum class Caching {
    direct,    ///< O_DIRECT where the file system has it
    buffered,
  };

  virtual ~Storage() = default;
  virtual Result<std::vector<std::string>> list() const = 0;
  /// Fails with ENOENT in error_number when there is no such file. Refuses a file that is not the caller's own, or writable by others.
  virtual Result<std::unique_ptr<File>> open(const std::string& name, Access access, Caching caching) = 0;
  virtual Result<void> rename(const std::string& from, const std::string& to) = 0;
  /// Removes a file that is open as `file`. Giving back its space may go on in the background.
  virtual Result<void> remove(const std::string& name, std::unique_ptr<File> file) = 0;
  /// Makes creations, renames and removals durable.
  virtual Result<void> sync_directory() = 0;
  /// The path of a file, for messages.
  virtual std::string path(const std::string& name) const = 0;
};

/// The directory `path`, which must exist; refuses one that is not the caller's own, or writable by others.
Result<std::shared_ptr<Storage>> open_directory(const std::string& path);

/// Replaces the file `name` atomically and durably.
Result<void> replace_file(Storage& storage, const std::string& name, std::string_view contents);
/// The whole of the (small) file `name`.
Result<std::string> read_file(Storage& storage, const std::string& name);

}  // namespace perdure::store
