// From a checkpoint's object tree to running processes.
#pragma once

#include <map>
#include <memory>

#include "base/result.h"
#include "posix/restore_context.h"
#include "restore/task_builder.h"

namespace perdure::restore {

/// A group that is whole again and stopped, ready to go on. If it is destroyed before resume(), its processes are left
/// to die with their namespaces.
class RebuiltGroup {
 public:
  /// Rebuilds every process of the context's checkpoint below the context's init, in this OS thread (which becomes their tracer).
  static Result<RebuiltGroup> build(posix::RestoreContext& context);
  std::map<int, std::unique_ptr<BareProcess>>& processes() { return tree_.processes(); }
  /// Lets every thread run on.
  Result<void> resume();

 private:
  RebuiltGroup(ProcessTree tree, posix::RestoreContext& context) : tree_(std::move(tree)), context_(&context) {}
  ProcessTree tree_;
  posix::RestoreContext* context_;
};

}  // namespace perdure::restore
