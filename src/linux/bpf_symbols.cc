#include "linux/bpf_symbols.h"

#include <algorithm>
#include <charconv>

#include "linux/process.h"

namespace perdure {

Result<std::map<uint64_t, std::string>> kernel_functions(std::span<const std::string_view> names) {
  const std::string symbols = TRY(read_file("/proc/kallsyms"));
  std::map<uint64_t, std::string> found;
  for (size_t at = 0; at < symbols.size();) {
    const size_t end = std::min(symbols.find('\n', at), symbols.size());
    // "ffffffff8136cf40 T do_no_restart_syscall", and for modules a tab and the module's name.
    const std::string_view line(&symbols[at], end - at);
    at = end + 1;
    constexpr size_t kAddressDigits = 16, kNameColumn = 19;
    if (line.size() <= kNameColumn) continue;
    const std::string_view name = line.substr(kNameColumn, line.find('\t') - kNameColumn);
    if (std::ranges::find(names, name) == names.end()) continue;
    uint64_t address = 0;
    std::from_chars(line.data(), line.data() + kAddressDigits, address, 16);
    if (address == 0) return std::unexpected(Error{"/proc/kallsyms hides addresses (kernel.kptr_restrict)", EPERM});
    found.emplace(address, name);
  }
  return found;
}

}  // namespace perdure
