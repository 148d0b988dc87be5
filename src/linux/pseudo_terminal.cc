#include "linux/pseudo_terminal.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/mount.h>

#include <sstream>
#include <string>
#include <vector>

#include "linux/process.h"

namespace perdure {

namespace {

/// The options of the devpts at /dev/pts; absent without.
Result<std::optional<std::string>> machine_options() {
  std::optional<std::string> found;
  std::istringstream lines(TRY(read_file("/proc/self/mounts")));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string device, point, type, options;
    words >> device >> point >> type >> options;
    if (point != "/dev/pts") continue;
    found.reset();
    if (type == "devpts") found = options;
  }
  return found;
}

}  // namespace

Result<std::optional<Fd>> make_terminal_file_system() {
  const auto options = TRY(machine_options());
  if (!options) return std::optional<Fd>{};
  const Fd context(fsopen("devpts", FSOPEN_CLOEXEC));
  if (!context) return system_error("make a devpts instance");
  std::istringstream words(*options);
  for (std::string word; std::getline(words, word, ',');) {
    const size_t equals = word.find('=');
    if (equals == std::string::npos) continue;
    if (fsconfig(context.get(), FSCONFIG_SET_STRING, word.substr(0, equals).c_str(), word.c_str() + equals + 1, 0) != 0) {
      return system_error(fmt::format("give a devpts instance the option '{}'", word));
    }
  }
  if (fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) return system_error("make a devpts instance");
  Fd mount(fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC));
  if (!mount) return system_error("make a devpts instance");
  return mount;
}

Result<Fd> open_master(unsigned number, const std::function<Result<Fd>()>& open) {
  std::vector<Fd> below;
  for (;;) {
    Fd master = TRY(open());
    unsigned given = 0;
    const int unlocked = 0;
    if (ioctl(master.get(), TIOCGPTN, &given) != 0) return system_error("ask for the number of a pseudo terminal");
    if (given > number) return failure(fmt::format("the number of pseudo terminal {} is taken", number));
    if (given < number) {
      below.push_back(std::move(master));
      continue;
    }
    if (ioctl(master.get(), TIOCSPTLCK, &unlocked) != 0) return system_error("unlock a pseudo terminal");
    return master;
  }
}

}  // namespace perdure
