// Numbers for kernel objects, kept from epoch to epoch.
#pragma once

#include <algorithm>
#include <map>
#include <tuple>

#include "posix/object_tree.h"

namespace perdure::capture {

/// What a kernel address is the address of; two kinds never share a number.
enum class ObjectKind : uint8_t { process, thread, address_space, signal_handlers, file_system_context, descriptor_table, open_file, inode, segment, semaphores, messages, message_queue };

/// Gives every kernel object the same number for as long as it is met in every epoch.
class Identities {
 public:
  explicit Identities(posix::ObjectId first) : next_(first) {}

  /// The number of an object, new or known. `incarnation` tells apart two objects that had the same address one after the other.
  posix::ObjectId of(ObjectKind kind, uint64_t address, uint64_t incarnation = 0) {
    const auto [entry, fresh] = numbers_.try_emplace({kind, address, incarnation}, Known{next_, epoch_});
    if (fresh) ++next_;
    entry->second.met = epoch_;
    return entry->second.number;
  }
  /// Gives an object the number it had before a restore.
  void adopt(ObjectKind kind, uint64_t address, uint64_t incarnation, posix::ObjectId number) {
    numbers_[{kind, address, incarnation}] = {number, 0};
    next_ = std::max(next_, number + 1);
  }
  /// Whether an object was met in this epoch, whatever its incarnation.
  bool met(ObjectKind kind, uint64_t address) const {
    for (auto next = numbers_.lower_bound({kind, address, 0}); next != numbers_.end(); ++next) {
      if (std::get<0>(next->first) != kind || std::get<1>(next->first) != address) break;
      if (next->second.met == epoch_) return true;
    }
    return false;
  }
  /// Begins an epoch.
  void begin() { ++epoch_; }
  /// Ends an epoch: forgets what was not met.
  void end() {
    std::erase_if(numbers_, [&](const auto& entry) { return entry.second.met != epoch_; });
  }

 private:
  using Key = std::tuple<ObjectKind, uint64_t, uint64_t>;
  struct Known {
    posix::ObjectId number;
    uint64_t met;  ///< the last epoch in which it was
  };
  posix::ObjectId next_;
  uint64_t epoch_ = 1;
  std::map<Key, Known> numbers_;
};

}  // namespace perdure::capture
