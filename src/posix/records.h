// What a pass of the collector has written, kept and sorted.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "posix/record.bpf.h"

namespace perdure::posix {

/// Records as the kernel side wrote them, one behind the other, and one without a kind behind the last of a pass; owns them, and pointers to them
/// stay good for as long as it lives. Move only.
class Records {
 public:
  /// Keeps what a pass has written, and calls visit(const RecordHeader&) for each record of it.
  template <typename Visit>
  void append(std::span<const std::byte> written, Visit visit) {
    if (written.empty()) return;
    auto bytes = std::make_unique_for_overwrite<std::byte[]>(written.size() + sizeof(RecordHeader));
    std::memcpy(bytes.get(), written.data(), written.size());
    std::memset(bytes.get() + written.size(), 0, sizeof(RecordHeader));
    for (size_t at = 0; at < written.size();) {
      const auto& header = *reinterpret_cast<const RecordHeader*>(bytes.get() + at);
      visit(header);
      at += header.size;
    }
    chunks_.push_back(std::move(bytes));
  }

 private:
  std::vector<std::unique_ptr<std::byte[]>> chunks_;
};

/// Records of shared kernel objects, each once, found by the object's address (`Key`).
template <typename Record, uint64_t Record::* Key>
class ObjectRecords {
 public:
  /// Null when there is none.
  const Record* find(uint64_t address) const {
    auto at = std::ranges::lower_bound(records_, address, {}, [](const Record* record) { return record->*Key; });
    return at != records_.end() && (*at)->*Key == address ? *at : nullptr;
  }
  auto begin() const { return records_.begin(); }
  auto end() const { return records_.end(); }
  size_t size() const { return records_.size(); }

  void add(const Record& record) { records_.push_back(&record); }
  /// Sorts, and drops what was told twice. To be called after the last add().
  void seal() {
    std::ranges::sort(records_, {}, [](const Record* record) { return record->*Key; });
    auto twice = std::ranges::unique(records_, {}, [](const Record* record) { return record->*Key; });
    records_.erase(twice.begin(), twice.end());
  }

 private:
  std::vector<const Record*> records_;
};

/// Records of which an object has any number, each object's in the order of writing. `Identity` tells one from another.
template <typename Record, uint64_t Record::* Owner, uint64_t Record::* Identity>
class OwnedRecords {
 public:
  /// Those of one object.
  std::span<const Record* const> of(uint64_t owner) const {
    auto range = std::ranges::equal_range(records_, owner, {}, [](const Record* record) { return record->*Owner; });
    return {range.begin(), range.end()};
  }
  auto begin() const { return records_.begin(); }
  auto end() const { return records_.end(); }
  size_t size() const { return records_.size(); }

  void add(const Record& record) { records_.push_back(&record); }
  /// Sorts by owner, and drops what was told twice. To be called after the last add().
  void seal() {
    std::ranges::stable_sort(records_, {}, [](const Record* record) { return record->*Owner; });
    // An object that is told twice is told in full: its first record comes again where the repetition begins.
    const Record* first = nullptr;
    bool repeats = false;
    std::erase_if(records_, [&](const Record* record) {
      if (first == nullptr || record->*Owner != first->*Owner) {
        first = record;
        repeats = false;
      } else if (record->*Identity == first->*Identity) {
        repeats = true;
      }
      return repeats;
    });
  }

 private:
  std::vector<const Record*> records_;
};

}  // namespace perdure::posix
