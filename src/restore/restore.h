// From a checkpoint's object tree to running processes.
#pragma once

#include <map>
#include <memory>

#include "base/result.h"
#include "memory/lazy_fill.h"
#include "posix/restore_context.h"
#include "restore/task_builder.h"

namespace perdure::restore {

/// A group that is being made whole again, stopped. If it is destroyed before resume(), its processes are left
/// to die with their namespaces.
class RebuiltGroup {
 public:
  /// Makes every process of the context's checkpoint anew below the context's init, in this OS thread (which becomes their tracer): the
  /// tree, its threads, and all memory with the contents that the checkpoint has. What is written to memory later is written by finish().
  /// With `lazy`, private memory gets its contents from that.
  static Result<RebuiltGroup> build(posix::RestoreContext& context, memory::LazyFill* lazy);
  /// Rebuilds everything else, down to the registers.
  Result<void> finish();
  std::map<int, std::unique_ptr<BareProcess>>& processes() { return tree_.processes(); }
  /// Lets every thread run on.
  Result<void> resume();

 private:
  RebuiltGroup(ProcessTree tree, posix::RestoreContext& context) : tree_(std::move(tree)), context_(&context) {}
  ProcessTree tree_;
  posix::RestoreContext* context_;
};

}  // namespace perdure::restore
