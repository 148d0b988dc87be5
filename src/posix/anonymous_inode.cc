#include "posix/anonymous_inode.h"

#include <fmt/format.h>
#include <linux/magic.h>

#include "linux/process.h"

namespace perdure::posix {

bool is_anonymous_inode(const FileRecord& record, std::string_view name) {
  return record.filesystem_magic == ANON_INODE_FS_MAGIC && name == record.name;
}

Result<std::string> descriptor_information(const FileSource& source) {
  return read_file(fmt::format("/proc/{}/fdinfo/{}", source.host_pid, source.record.descriptor));
}

Result<std::string> information_field(const std::string& information, std::string_view field) {
  const size_t at = information.find(field);
  if (at == std::string::npos) return failure(fmt::format("fdinfo lacks '{}'", field));
  const size_t begin = information.find_first_not_of(" \t", at + field.size());
  return information.substr(begin, information.find_first_of(" \t\n", begin) - begin);
}

}  // namespace perdure::posix
