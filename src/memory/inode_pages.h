// The contents of one inode that are the store's: a memory file, shared memory, a file without a name.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/result.h"
#include "memory/page_runs.h"
#include "store/changes.h"
#include "store/store.h"

namespace perdure::memory {

/// Remembers, by hash, what was last taken of each page, since much that changes contents leaves no trace in anybody's page tables
/// (write(2), mappings that are gone again).
class InodePages {
 public:
  /// `file` is open for reading.
  InodePages(Fd file, store::SpaceId space) : file_(std::move(file)), space_(space) {}

  /// By page number / kBlockPages; 0: absent.
  static constexpr uint64_t kBlockPages = 512;
  using Hashes = std::map<uint64_t, std::array<uint64_t, kBlockPages>>;
  /// What a store holds of a space.
  static Hashes hashes_of(const store::View& view, store::SpaceId space);
  /// Takes what a store holds for what was last taken.
  void assume(Hashes hashes) { hashes_ = std::move(hashes); }

  /// Compares the pages of `range` with what was last taken; what differs goes into `changes`: pages put, and pages erased where
  /// there is a hole now, or the end of the file. Nobody may change the file meanwhile.
  Result<void> take(PageRun range, store::Changes& changes);
  /// The same for the whole file.
  Result<void> take_all(store::Changes& changes);

  int file() const { return file_.get(); }
  store::SpaceId space() const { return space_; }
  /// XXH3 of a page as last taken; nothing when it was absent.
  std::optional<uint64_t> hash(uint64_t page) const;

 private:
  Result<void> take_data(PageRun range, store::Changes& changes);
  void erase(PageRun range, store::Changes& changes);

  Fd file_;
  store::SpaceId space_;
  Hashes hashes_;
  AlignedBytes buffer_;
};

}  // namespace perdure::memory
