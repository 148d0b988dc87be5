// The store of one group: a directory that keeps epochs as a log. Knows nothing of processes.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "store/changes.h"

namespace perdure::store {

struct Options {
  uint64_t keep_epochs = 100;           ///< history: the newest so many epochs can be viewed
  uint64_t segment_bytes = 64ull << 20; ///< size of one segment file, at most; a small store has smaller ones
};

/// What is recorded beside an epoch's contents, and listed without reading them.
struct EpochInfo {
  EpochNumber epoch = 0;
  int64_t realtime_ns = 0;  ///< CLOCK_REALTIME of the checkpoint
  std::string label{};      ///< may be empty
  std::string attributes{}; ///< opaque to the store (the supervisor's figures)
  uint64_t page_count = 0;  ///< filled by the store: pages put, zero pages included
  uint64_t stored_bytes = 0;///< filled by the store: bytes written for this epoch
};

/// The contents of one epoch, held in memory as an index (16 bytes a page); data is read on demand and checked.
class View {
 public:
  virtual ~View() = default;
  virtual const EpochInfo& info() const = 0;
  virtual const std::map<ObjectId, std::string>& objects() const = 0;
  virtual std::vector<SpaceId> spaces() const = 0;
  virtual uint64_t page_count(SpaceId space) const = 0;
  /// Pages present in [first, first + count), as ascending runs {first, count}.
  struct Run {
    uint64_t first;
    uint64_t count;
  };
  virtual std::vector<Run> runs(SpaceId space, uint64_t first, uint64_t count) const = 0;
  /// Reads pages [first, first + count), all of which must be present, into `to` (count * kPageSize bytes, page-aligned), with
  /// every checksum verified; large requests become large reads. Safe from several threads.
  virtual Result<void> read(SpaceId space, uint64_t first, uint64_t count, std::byte* to) const = 0;
  /// XXH3 64-bit hash of the page's kPageSize bytes (that of a zero page for a stored zero page); nullopt when absent.
  virtual std::optional<uint64_t> page_hash(SpaceId space, uint64_t page) const = 0;
  /// Neighbouring pages with their contents.
  struct Extent {
    SpaceId space;
    uint64_t first;
    uint64_t count;
    const std::byte* bytes;  ///< until take() returns
  };
  /// Reads all pages of `spaces`, with every checksum verified, in whatever order is fastest and in several threads; each calls take() with what it
  /// has read. Ends at the first error, be it take()'s.
  enum class Pace : uint8_t {
    fast,
    considerate,  ///< one thread; what was written last comes first
  };
  virtual Result<void> read_all(std::span<const SpaceId> spaces, const std::function<Result<void>(std::span<const Extent>)>& take,
                                Pace pace = Pace::fast) const = 0;
  /// Reads and checks all pages of `spaces`.
  Result<void> verify(std::span<const SpaceId> spaces) const {
    return read_all(spaces, [](std::span<const Extent>) { return Result<void>(); });
  }
  /// Reads and checks everything this epoch needs.
  Result<void> verify() const { return verify(spaces()); }
};

struct Usage {
  uint64_t stored_bytes = 0;  ///< bytes of all files of the store
  uint64_t live_bytes = 0;    ///< bytes that the newest epoch needs
  uint64_t segment_count = 0;
};

struct VerifyReport {
  uint64_t epochs_checked = 0;
  uint64_t pages_checked = 0;
  std::vector<std::string> damage;  ///< one line each: file, offset, what, which epochs
};

/// One group's store. A writer holds an exclusive lock (flock) on it; readers open it without the lock and may find that an epoch
/// has been reclaimed meanwhile (an error, never wrong data). Not thread-safe, except where said; a View is independent of it.
class Store {
 public:
  /// Makes a new store in `directory` (created, mode 0700; files 0600). Error if one is there.
  static Result<std::unique_ptr<Store>> create(const std::string& directory, const Options& options);
  /// Opens for writing: takes the lock (error "in use by pid N" otherwise), refuses a directory or file not owned by the caller or
  /// writable by others, finds the newest epoch whose commit record is whole, and cuts off what lies behind it.
  static Result<std::unique_ptr<Store>> open(const std::string& directory, const Options& options);
  /// Opens for reading, beside a writer.
  static Result<std::unique_ptr<Store>> open_read_only(const std::string& directory);
  static bool exists(const std::string& directory);
  /// Who has the store open for writing; absent when nobody has, or the caller may not look. 0: it has yet to say its pid.
  static std::optional<pid_t> writer_of(const std::string& directory);
  /// Takes the writer's lock alone, whatever else is in the directory: damaged, half made, of doubtful ownership. No one can open a store there for
  /// writing until the descriptor is closed. EBUSY "in use by pid N" when somebody has.
  static Result<Fd> keep_writers_out(const std::string& directory);
  virtual ~Store() = default;

  /// Makes one epoch durable: data, index delta and commit record in one stretch, by O_DIRECT writes and one flush. When it returns
  /// without error, the epoch survives power loss. After an error (disk full, I/O error) the store is as before, stays usable, and the
  /// caller may call again with `changes` or with more merged into it. info.epoch must be larger than last_epoch().
  virtual Result<EpochInfo> append(const EpochInfo& info, const Changes& changes) = 0;

  /// Gives back space that no kept epoch needs; called by the writer between appends, does a bounded amount of work.
  virtual Result<void> reclaim() = 0;

  virtual EpochNumber last_epoch() const = 0;  ///< 0 when empty
  virtual std::vector<EpochInfo> history() const = 0;  ///< epochs that can be viewed, oldest first
  virtual Result<std::unique_ptr<View>> view(EpochNumber epoch) const = 0;
  /// What makes the contents of the last epoch those of `epoch` again: to be appended as an epoch of its own by whoever goes on from there. Holds
  /// a copy of each page that differs.
  virtual Result<Changes> changes_back_to(EpochNumber epoch) const = 0;
  /// What erases all that the last epoch holds: for whoever begins something else in this store.
  virtual Result<Changes> changes_to_nothing() const = 0;
  /// Hash of a page as of the last epoch, from memory (see View::page_hash); what `--audit` compares with.
  virtual std::optional<uint64_t> page_hash(SpaceId space, uint64_t page) const = 0;
  virtual Usage usage() const = 0;
  /// What opening found that is not as a clean stop leaves it (a write cut off by a crash, damage), one line each.
  virtual const std::vector<std::string>& notices() const = 0;
  /// Reads every kept epoch and says what is damaged; `progress` (bytes done, bytes in all) may be empty.
  virtual Result<VerifyReport> verify(const std::function<void(uint64_t, uint64_t)>& progress) const = 0;

  /// Small named values beside the log ("state", "command line"), replaced atomically and durably.
  virtual Result<void> set_property(const std::string& name, const std::string& value) = 0;
  virtual Result<std::optional<std::string>> property(const std::string& name) const = 0;
};

}  // namespace perdure::store
