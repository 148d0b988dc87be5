// Numbers for kernel objects, kept from epoch to epoch.
#pragma once

#include <map>
#include <set>
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
    const Key key{kind, address, incarnation};
    met_.insert(key);
    const auto [entry, fresh] = numbers_.try_emplace(key, next_);
    if (fresh) ++next_;
    return entry->second;
  }
  /// Gives an object the number it had before a restore.
  void adopt(ObjectKind kind, uint64_t address, uint64_t incarnation, posix::ObjectId number) {
    numbers_[{kind, address, incarnation}] = number;
    next_ = std::max(next_, number + 1);
  }
  /// Whether an object was met in this epoch, whatever its incarnation.
  bool met(ObjectKind kind, uint64_t address) const {
    const auto next = met_.lower_bound({kind, address, 0});
    return next != met_.end() && std::get<0>(*next) == kind && std::get<1>(*next) == address;
  }
  /// Begins an epoch.
  void begin() { met_.clear(); }
  /// Ends an epoch: forgets what was not met.
  void end() {
    std::erase_if(numbers_, [&](const auto& entry) { return !met_.contains(entry.first); });
  }

 private:
  using Key = std::tuple<ObjectKind, uint64_t, uint64_t>;
  posix::ObjectId next_;
  std::map<Key, posix::ObjectId> numbers_;
  std::set<Key> met_;
};

}  // namespace perdure::capture
