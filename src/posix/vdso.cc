#include "posix/vdso.h"

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <xxhash.h>

#include "linux/process.h"

namespace perdure::posix {

Result<uint64_t> vdso_hash() {
  for (const auto& mapping : TRY(special_mappings(getpid()))) {
    if (mapping.name == "[vdso]") return XXH3_64bits(reinterpret_cast<const void*>(mapping.start), mapping.end - mapping.start);
  }
  return failure("this kernel gives programs no vDSO (boot it without vdso=0)");
}

Result<void> check_vdso(const Group& group) {
  if (group.vdso_hash() == TRY(vdso_hash())) return {};
  utsname names{};
  uname(&names);
  return failure(fmt::format("the group ran on Linux {}, whose code in programs (the vDSO) is not that of this one ({}): boot that kernel, and restore it there",
                             group.kernel_release(), names.release));
}

}  // namespace perdure::posix
