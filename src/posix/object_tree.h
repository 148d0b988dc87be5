// A checkpoint's objects, decoded.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "posix/object.pb.h"
#include "store/store.h"

namespace perdure::posix {

// The records (*.proto) live in a namespace of their own: some share their names with what the collector reads (*.bpf.h).
using namespace ::perdure::record;
using store::ObjectId;
using store::SpaceId;

/// The group's own record is always object 1; other numbers are drawn from 2 on.
inline constexpr ObjectId kGroupObject = 1;

/// The objects of one checkpoint by number. References between them are checked on use, since a store may be damaged or forged.
class ObjectTree {
 public:
  static Result<ObjectTree> decode(const std::map<ObjectId, std::string>& records);

  const std::map<ObjectId, Object>& objects() const { return objects_; }
  Result<const Group*> group() const;
  Result<const AddressSpace*> address_space(ObjectId id) const;
  Result<const SignalHandlers*> signal_handlers(ObjectId id) const;
  Result<const FileSystemContext*> file_system_context(ObjectId id) const;
  Result<const DescriptorTable*> descriptor_table(ObjectId id) const;
  Result<const OpenFile*> open_file(ObjectId id) const;
  Result<const Inode*> inode(ObjectId id) const;
  /// All processes, by PID.
  const std::map<int, const Process*>& processes() const { return processes_; }
  /// A process's threads, the leader first, then by TID.
  std::vector<const Thread*> threads(int pid) const;

 private:
  Result<const Object*> find(ObjectId id, Object::BodyCase kind, const char* name) const;
  std::map<ObjectId, Object> objects_;
  std::map<int, const Process*> processes_;
  std::map<int, std::map<int, const Thread*>> threads_;
};

}  // namespace perdure::posix
