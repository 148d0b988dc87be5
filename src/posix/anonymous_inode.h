// Files that the kernel names "[eventfd]", "[eventpoll]", ...: what /proc/PID/fdinfo says of them.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "posix/capture_context.h"

namespace perdure::posix {

/// Whether the file lies on the kernel's anonymous inode and has this name, brackets included.
bool is_anonymous_inode(const FileRecord& record, std::string_view name);

/// /proc/PID/fdinfo/N (proc(5)).
Result<std::string> descriptor_information(const FileSource& source);

/// The word behind `field` (with its colon) in such a text.
Result<std::string> information_field(const std::string& information, std::string_view field);

}  // namespace perdure::posix
