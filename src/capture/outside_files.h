// Files outside of the store that a group writes to, and which of them must be on disk before an epoch is.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace perdure::capture {

/// One such file, held open for as long as somebody may have to sync it.
struct OutsideFile {
  Fd fd;
  int64_t synced_ns = 0;  ///< CLOCK_MONOTONIC when its last sync that went well began; belongs to who syncs it
};

/// Remembers the files from epoch to epoch. A file whose times and size did not change is not synced again.
class OutsideFiles {
 public:
  /// The inode's address and number.
  using Key = std::pair<uint64_t, uint64_t>;
  struct Stamp {
    int64_t size = 0;
    int64_t modified_ns = 0;
    int64_t changed_ns = 0;
    bool operator==(const Stamp&) const = default;
  };

  /// Begins an epoch. `now_ns`: CLOCK_REALTIME, not later than the first note().
  void begin(int64_t now_ns);
  /// A file that the group has open for writing. `link` leads to it, and is opened when the file is met for the first time.
  Result<void> note(Key key, const std::string& link, const Stamp& stamp);
  /// A file that the group can write to by a shared mapping (to be called before note() of the same file), which no time tells of before the kernel writes it back: always synced.
  Result<void> note_mapped(Key key, const std::string& link);
  /// Ends an epoch: files that were not met are synced a last time, if they changed, and forgotten.
  void end();
  /// Those to be synced before the epoch is written, of this epoch and those since the last take().
  std::vector<std::shared_ptr<OutsideFile>> take();

 private:
  struct Known {
    std::shared_ptr<OutsideFile> file;
    Stamp stamp;
    int64_t noted_ns = 0;     ///< 0: never by note()
    bool met = false;
    bool mapped = false;      ///< as of the last note(): its times may not tell of all that was written
    bool mapped_now = false;  ///< as of this epoch
  };
  Result<Known*> meet(Key key, const std::string& link);
  static bool unchanged(const Known& known, const Stamp& stamp);

  std::map<Key, Known> known_;
  std::map<const OutsideFile*, std::shared_ptr<OutsideFile>> to_sync_;
  int64_t now_ns_ = 0;
};

}  // namespace perdure::capture
