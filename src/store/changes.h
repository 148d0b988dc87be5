// What one epoch changes: the input of Store::append.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace perdure::store {

/// Names an object record; chosen by the caller, never 0.
using ObjectId = uint64_t;
/// Names a set of numbered pages (an address space, the contents of an inode); drawn from the same numbers as ObjectId.
using SpaceId = uint64_t;
/// Numbers checkpoints, from 1, growing by one or more.
using EpochNumber = uint64_t;

/// The changes of one epoch, relative to the epoch before it. Page operations of one space apply in the order they were made.
/// Move only; one thread at a time. Operations on the same page many times over are written many times over, until absorb.
class Changes {
 public:
  Changes() = default;
  Changes(Changes&&) = default;
  Changes& operator=(Changes&&) = default;

  /// Creates or replaces an object's record.
  void put_object(ObjectId id, std::string record);
  void erase_object(ObjectId id);

  /// Page-aligned staging memory for `count` pages, contiguous, owned by this object and stable until it is destroyed.
  /// Null when memory is short. The caller fills it and then names each page by put_page.
  std::byte* allocate_pages(size_t count);
  /// Takes a share in memory that holds `count` pages, already filled, as if it came from allocate_pages.
  void adopt_pages(std::vector<std::shared_ptr<std::byte[]>> memory, size_t count);

  /// Sets page `page` of `space` to the kPageSize bytes at `staged`, which must lie in memory from allocate_pages.
  /// An all-zero page is detected when the epoch is written, and stored without data.
  void put_page(SpaceId space, uint64_t page, const std::byte* staged);

  /// Removes `count` pages from `first` on: they read as absent (zero for anonymous memory). May reach
  /// beyond the last page there can be.
  void erase_pages(SpaceId space, uint64_t first, uint64_t count);
  void erase_space(SpaceId space);

  /// Makes `to` a copy of what `from` held at the previous epoch (a fork): applies before any page operation on `to` in this epoch,
  /// whatever the order of the calls, except that what an erase_space called earlier wiped out stays wiped out.
  void clone_space(SpaceId from, SpaceId to);

  /// The same of what `from` holds with the changes made so far (a fork that came after an epoch that was abandoned).
  void fork_space(SpaceId from, SpaceId to);

  /// Adds the changes of a later epoch on top of these (an epoch that was abandoned or could not be written is merged with the
  /// next one). Where both name something, the later one holds. Staged pages may move: addresses from allocate_pages end here.
  void absorb(Changes&& later);

  bool empty() const;
  size_t page_count() const;    ///< put_page operations held
  size_t staged_bytes() const;  ///< memory held for staged pages

  // What Store::append reads.
  struct PageOperation {
    enum class Kind : uint8_t { put, erase, erase_space, clone_from };
    Kind kind;
    SpaceId space;
    uint64_t first;           ///< put, erase: first page; clone_from: the space copied
    uint64_t count;           ///< put, erase: pages named
    const std::byte* staged;  ///< put: contents of all of them, contiguous
  };
  const std::vector<PageOperation>& page_operations() const { return page_operations_; }
  struct ObjectChange {
    bool erased = false;
    std::string record;
  };
  const std::map<ObjectId, ObjectChange>& objects() const { return objects_; }

 private:
  void drop_unused_staging();

  std::map<ObjectId, ObjectChange> objects_;
  std::vector<PageOperation> page_operations_;
  std::vector<std::shared_ptr<std::byte[]>> staging_;
  size_t staged_bytes_ = 0;
  size_t page_count_ = 0;
};

}  // namespace perdure::store
