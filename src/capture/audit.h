// What a group really was at a checkpoint, to compare with what a store would give back of it.
#pragma once

#include <string>
#include <vector>

#include "capture/mutation.h"
#include "memory/page_audit.h"

namespace perdure::capture {

/// Every page and every kernel object of a stopped group, read without the help of anything remembered from earlier epochs.
struct Audit {
  memory::PageAudit pages;
  ObjectRecords records;

  /// One line for each page or object that the view has otherwise than the group had it.
  std::vector<std::string> compare(const store::View& view) const;
};

}  // namespace perdure::capture
