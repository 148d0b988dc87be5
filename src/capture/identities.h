// Numbers for kernel objects, kept from epoch to epoch.
#pragma once

#include <algorithm>
#include <cstdint>
#include <unordered_map>

#include "posix/object_tree.h"

namespace perdure::capture {

/// What a kernel address is the address of; two kinds never share a number.
enum class ObjectKind : uint8_t { process, thread, address_space, signal_handlers, file_system_context, descriptor_table, open_file, inode, segment, semaphores, messages, message_queue };

/// Gives every kernel object the same number for as long as it is met in every epoch.
class Identities {
 public:
  explicit Identities(posix::ObjectId first) : next_(first) {}

  /// An object, new or known; stays where it is for as long as it is met in every epoch.
  struct Identity {
    posix::ObjectId number;
    uint64_t met;  ///< the last epoch in which it was
  };
  /// `incarnation` tells apart two objects that had the same address one after the other.
  Identity& identity(ObjectKind kind, uint64_t address, uint64_t incarnation = 0) {
    const auto [entry, fresh] = identities_.try_emplace(Key{kind, address, incarnation}, Identity{next_, epoch_});
    if (fresh) ++next_;
    meet(entry->second);
    return entry->second;
  }
  void meet(Identity& identity) { identity.met = epoch_; }
  /// The number of an object.
  posix::ObjectId of(ObjectKind kind, uint64_t address, uint64_t incarnation = 0) { return identity(kind, address, incarnation).number; }
  /// Gives an object the number it had before a restore.
  void adopt(ObjectKind kind, uint64_t address, uint64_t incarnation, posix::ObjectId number) {
    identities_[Key{kind, address, incarnation}] = {number, 0};
    next_ = std::max(next_, number + 1);
  }
  /// Begins an epoch.
  void begin() { ++epoch_; }
  /// Ends an epoch: forgets what was not met.
  void end() {
    std::erase_if(identities_, [&](const auto& entry) { return entry.second.met != epoch_; });
  }

 private:
  struct Key {
    ObjectKind kind;
    uint64_t address, incarnation;
    bool operator==(const Key&) const = default;
  };
  struct Hash {
    size_t operator()(const Key& key) const {
      constexpr uint64_t kFactor = 0x9E3779B97F4A7C15ull;
      return (((key.address ^ static_cast<uint64_t>(key.kind)) * kFactor) ^ key.incarnation) * kFactor >> 16;
    }
  };
  posix::ObjectId next_;
  uint64_t epoch_ = 1;
  std::unordered_map<Key, Identity, Hash> identities_;
};

}  // namespace perdure::capture
