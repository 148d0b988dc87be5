#include "linux/process_tree.h"

#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "linux/process.h"

namespace perdure {

std::vector<pid_t> every_process() {
  std::vector<pid_t> pids;
  std::error_code error;
  std::filesystem::directory_iterator entry("/proc", error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename();
    pid_t pid = 0;
    const auto [end, wrong] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (wrong == std::errc() && end == name.data() + name.size()) pids.push_back(pid);
  }
  return pids;
}

pid_t parent_of(pid_t pid) {
  constexpr int kParent = 4;
  return std::atoi(process_stat_field(pid, kParent).c_str());
}

std::set<pid_t> with_descendants(pid_t pid) {
  std::multimap<pid_t, pid_t> children;
  for (const pid_t child : every_process()) children.emplace(parent_of(child), child);
  std::set<pid_t> found{pid};
  std::vector<pid_t> open{pid};
  while (!open.empty()) {
    const auto [first, last] = children.equal_range(open.back());
    open.pop_back();
    for (auto entry = first; entry != last; ++entry) {
      if (found.insert(entry->second).second) open.push_back(entry->second);
    }
  }
  return found;
}

}  // namespace perdure
