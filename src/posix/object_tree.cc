#include "posix/object_tree.h"

#include <fmt/format.h>

namespace perdure::posix {

Result<ObjectTree> ObjectTree::decode(const std::map<ObjectId, std::string>& records) {
  ObjectTree tree;
  for (const auto& [id, bytes] : records) {
    Object& object = tree.objects_[id];
    if (!object.ParseFromString(bytes) || object.body_case() == Object::BODY_NOT_SET) {
      return failure(fmt::format("object {} of the checkpoint cannot be decoded: written by a newer perdure, or damaged", id));
    }
  }
  for (const auto& [id, object] : tree.objects_) {
    if (object.has_process()) tree.processes_[object.process().pid()] = &object.process();
    if (object.has_thread()) tree.threads_[object.thread().pid()][object.thread().tid()] = &object.thread();
  }
  return tree;
}

Result<const Object*> ObjectTree::find(ObjectId id, Object::BodyCase kind, const char* name) const {
  const auto found = objects_.find(id);
  if (found == objects_.end() || found->second.body_case() != kind) {
    return failure(fmt::format("the checkpoint lacks object {} ({})", id, name));
  }
  return &found->second;
}

Result<const Group*> ObjectTree::group() const { return &TRY(find(kGroupObject, Object::kGroup, "group"))->group(); }
Result<const AddressSpace*> ObjectTree::address_space(ObjectId id) const {
  return &TRY(find(id, Object::kAddressSpace, "address space"))->address_space();
}
Result<const SignalHandlers*> ObjectTree::signal_handlers(ObjectId id) const {
  return &TRY(find(id, Object::kSignalHandlers, "signal handlers"))->signal_handlers();
}
Result<const FileSystemContext*> ObjectTree::file_system_context(ObjectId id) const {
  return &TRY(find(id, Object::kFileSystemContext, "file system context"))->file_system_context();
}
Result<const DescriptorTable*> ObjectTree::descriptor_table(ObjectId id) const {
  return &TRY(find(id, Object::kDescriptorTable, "descriptor table"))->descriptor_table();
}
Result<const OpenFile*> ObjectTree::open_file(ObjectId id) const {
  return &TRY(find(id, Object::kOpenFile, "open file"))->open_file();
}
Result<const Inode*> ObjectTree::inode(ObjectId id) const {
  return &TRY(find(id, Object::kInode, "inode"))->inode();
}

std::vector<const Thread*> ObjectTree::threads(int pid) const {
  std::vector<const Thread*> threads;
  const auto found = threads_.find(pid);
  if (found == threads_.end()) return threads;
  for (const auto& [tid, thread] : found->second) {
    if (tid == pid) threads.insert(threads.begin(), thread);
    else threads.push_back(thread);
  }
  return threads;
}

}  // namespace perdure::posix
