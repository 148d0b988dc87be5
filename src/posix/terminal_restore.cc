#include <asm/termbits.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <vector>

#include "linux/pseudo_terminal.h"
#include "posix/restore_context.h"
#include "posix/terminal.h"

namespace perdure::posix {

namespace {

// Keys that the line discipline is given for the time in which it takes in again what it once had.
constexpr char kQuote = 0x16;
constexpr char kEndOfFile = 0x04;
/// As the line discipline keeps an end of file that was typed.
constexpr char kEndOfFileMark = 0;
/// The line discipline's ring always has one place free.
constexpr size_t kRingBytesMax = 4095;

/// The open files of one pair.
struct Pair {
  unsigned number = 0;
  std::pair<ObjectId, const OpenFile*> master{0, nullptr};
  std::vector<std::pair<ObjectId, const OpenFile*>> hung_up, slaves;
};

Result<Fd> open_slave(int master, int flags) {
  Fd slave(ioctl(master, TIOCGPTPEER, (flags & (O_ACCMODE | O_NONBLOCK)) | O_NOCTTY | O_CLOEXEC));
  if (!slave) return system_error("open a pseudo terminal");
  return slave;
}

Result<void> make_pair(uint64_t id, const Pair& pair, RestoreContext& context) {
  const auto& [master_object, master_file] = pair.master;
  const std::string path = master_file == nullptr ? "/dev/ptmx" : master_file->terminal().master_path();
  const int flags = master_file == nullptr ? O_RDWR : static_cast<int>(master_file->flags()) & (O_ACCMODE | O_NONBLOCK);
  Fd master = TRY(open_master(pair.number, [&] { return context.open_in_group(path, flags | O_NOCTTY); }));
  for (const auto& [object, file] : pair.hung_up) {
    context.terminals.files[object] = TRY(open_slave(master.get(), static_cast<int>(file->flags())));
  }
  if (master_file != nullptr && !pair.hung_up.empty()) {
    const int any = context.terminals.files.at(pair.hung_up.front().first).get();
    if (ioctl(any, TIOCVHANGUP) != 0) return system_error("hang up a pseudo terminal");
  }
  for (const auto& [object, file] : pair.slaves) {
    context.terminals.files[object] = TRY(open_slave(master.get(), static_cast<int>(file->flags())));
  }
  Fd& held = context.terminals.masters[id];
  if (master_file == nullptr) {
    held = std::move(master);
    return {};
  }
  held = Fd(fcntl(master.get(), F_DUPFD_CLOEXEC, 3));
  if (!held) return system_error("duplicate the master of a pseudo terminal");
  context.terminals.files[master_object] = std::move(master);
  return {};
}

Result<void> set_settings(int master, const termios2& settings) {
  if (ioctl(master, TCSETS2, &settings) != 0) return system_error("set up a pseudo terminal");
  return {};
}

/// Lets an end's line discipline take in a byte at once, as if it had come from the other end.
Result<void> take_in(int end, char byte) {
  if (ioctl(end, TIOCSTI, &byte) != 0) return system_error("put back what waits in a pseudo terminal");
  return {};
}

/// Settings under which bytes are taken in as they are. Neither ICANON nor EXTPROC may change afterwards, since the ends of lines would be forgotten.
termios2 quiet(const termios2& settings, bool lines) {
  termios2 quiet = settings;
  quiet.c_iflag = 0;
  quiet.c_oflag = 0;
  quiet.c_lflag = (settings.c_lflag & EXTPROC) | (lines ? ICANON | IEXTEN : 0);
  std::ranges::fill(quiet.c_cc, 0);
  if (lines) {
    quiet.c_cc[VLNEXT] = static_cast<cc_t>(kQuote);
    quiet.c_cc[VEOF] = static_cast<cc_t>(kEndOfFile);
  }
  return quiet;
}

/// Puts back lines, and the beginning of one: the bytes from `begin` on.
Result<void> type_lines(int master, int slave, const PseudoTerminal& state, size_t begin, termios2 settings) {
  const std::string& input = state.input();
  size_t next_end = begin == 0 ? 0 : 1;
  for (size_t at = begin; at < input.size(); ++at) {
    const char byte = input[at];
    const bool ends_line = next_end < static_cast<size_t>(state.line_ends_size()) && state.line_ends(static_cast<int>(next_end)) == at;
    if (!ends_line) {
      if (byte == '\n' || byte == kQuote || byte == kEndOfFile || byte == static_cast<char>(settings.c_cc[VEOL])) TRY(take_in(slave, kQuote));
      TRY(take_in(slave, byte));
      continue;
    }
    ++next_end;
    if (byte != '\n' && byte != kEndOfFileMark) {
      settings.c_cc[VEOL] = static_cast<cc_t>(byte);
      TRY(set_settings(master, settings));
    }
    TRY(take_in(slave, byte == kEndOfFileMark ? kEndOfFile : byte));
  }
  return state.quotes_next() ? take_in(slave, kQuote) : Result<void>{};
}

/// What the line discipline had taken in, ends of lines included.
Result<void> fill_input(int master, int slave, const PseudoTerminal& state, const termios2& settings) {
  const bool lines = (settings.c_lflag & ICANON) != 0 && (settings.c_lflag & EXTPROC) == 0;
  const size_t pushed = !lines ? state.input().size() : state.pushed() && state.line_ends_size() > 0 ? state.line_ends(0) + 1 : 0;
  termios2 raw = quiet(settings, false);
  if (!lines) raw.c_lflag |= settings.c_lflag & ICANON;
  TRY(set_settings(master, raw));
  for (const char byte : state.input().substr(0, pushed)) TRY(take_in(slave, byte));
  if (!lines) return {};
  const termios2 gathering = quiet(settings, true);
  TRY(set_settings(master, gathering));
  return type_lines(master, slave, state, pushed, gathering);
}

/// What was printed: as much as the line discipline takes, and the rest on the way to it.
Result<void> fill_output(int master, int slave, const PseudoTerminal& state) {
  const std::string& output = state.output();
  const size_t taken_in = std::min(output.size(), kRingBytesMax);
  for (const char byte : output.substr(0, taken_in)) TRY(take_in(master, byte));
  if (taken_in == output.size()) return {};
  const auto rest = static_cast<ssize_t>(output.size() - taken_in);
  if (::write(slave, output.data() + taken_in, output.size() - taken_in) != rest) return system_error("put back what was printed on a pseudo terminal");
  return {};
}

Result<void> set_rights(const PseudoTerminal& state, unsigned number, const RestoreContext& context) {
  const Fd node = TRY(context.open_in_group(fmt::format("/dev/pts/{}", number), O_PATH));
  const std::string path = fmt::format("/proc/self/fd/{}", node.get());
  if (::chown(path.c_str(), state.uid(), state.gid()) == 0 && ::chmod(path.c_str(), state.mode()) == 0) return {};
  return system_error(fmt::format("set the rights of /dev/pts/{}", number));
}

Result<void> stop(int master, int slave, const PseudoTerminal& state, const termios2& settings) {
  const bool has_key = (settings.c_iflag & IXON) != 0 && settings.c_cc[VSTOP] != 0;
  if (state.stopped() && !state.stopped_by_call() && has_key) TRY(take_in(slave, static_cast<char>(settings.c_cc[VSTOP])));
  else if (state.stopped() && ioctl(slave, TCXONC, TCOOFF) != 0) return system_error("hold the output of a pseudo terminal");
  if (state.master_stopped_by_call() && ioctl(master, TCXONC, TCOOFF) != 0) return system_error("hold the output of a pseudo terminal's master");
  return {};
}

}  // namespace

Result<void> make_terminals(RestoreContext& context) {
  std::map<uint64_t, Pair> pairs;
  for (const auto& [id, object] : context.tree.objects()) {
    if (!object.has_open_file() || !object.open_file().has_terminal()) continue;
    const Terminal& terminal = object.open_file().terminal();
    Pair& pair = pairs[terminal.pair()];
    pair.number = terminal.number();
    if (terminal.has_state()) pair.master = {id, &object.open_file()};
    else (terminal.hung_up() ? pair.hung_up : pair.slaves).emplace_back(id, &object.open_file());
  }
  for (const auto& [id, pair] : pairs) {
    auto made = make_pair(id, pair, context);
    if (!made) return std::unexpected(std::move(made.error()).in(fmt::format("pseudo terminal {}", pair.number)));
  }
  return {};
}

unsigned group_terminal_number(const ObjectTree& tree) {
  std::set<unsigned> taken;
  unsigned number = 0;
  for (const auto& [id, object] : tree.objects()) {
    if (object.has_open_file() && object.open_file().has_terminal()) taken.insert(object.open_file().terminal().number());
    if (object.has_group()) number = object.group().terminal().number();
  }
  if (!taken.contains(number)) return number;
  for (number = 0; taken.contains(number);) ++number;
  return number;
}

const Terminal* controlling_terminal(const ObjectTree& tree, const Process& process) {
  if (process.controlling_terminal() == 0) return nullptr;
  for (const auto& [id, object] : tree.objects()) {
    if (!object.has_open_file() || !object.open_file().terminal().has_state()) continue;
    if (object.open_file().terminal().pair() == process.controlling_terminal()) return &object.open_file().terminal();
  }
  return nullptr;
}

Result<void> fill_terminal(int master, const PseudoTerminal& state, unsigned number, const RestoreContext& context) {
  termios2 settings{};
  if (state.settings().size() != sizeof settings) return failure(fmt::format("the settings of pseudo terminal {} are damaged", number));
  std::memcpy(&settings, state.settings().data(), sizeof settings);
  TRY(set_rights(state, number, context));
  // One that nobody has opened stays so: its master can tell the difference.
  const Fd slave = state.opened() ? TRY(open_slave(master, O_RDWR | O_NONBLOCK)) : Fd();
  if (slave) {
    TRY(fill_input(master, slave.get(), state, settings));
    TRY(fill_output(master, slave.get(), state));
  }
  TRY(set_settings(master, settings));
  winsize size{};
  std::memcpy(&size, state.window_size().data(), std::min(sizeof size, state.window_size().size()));
  if (ioctl(master, TIOCSWINSZ, &size) != 0) return system_error("set the window size of a pseudo terminal");
  return slave ? stop(master, slave.get(), state, settings) : Result<void>{};
}

Result<void> settle_terminal(int master, const PseudoTerminal& state) {
  const int on = 1;
  if (state.packet_mode() && ioctl(master, TIOCPKT, &on) != 0) return system_error("set a pseudo terminal to packet mode");
  if (!state.unprocessed_input().empty()) {
    const std::string& input = state.unprocessed_input();
    const int flags = fcntl(master, F_GETFL);
    fcntl(master, F_SETFL, flags | O_NONBLOCK);
    const ssize_t written = ::write(master, input.data(), input.size());
    fcntl(master, F_SETFL, flags);
    if (written != static_cast<ssize_t>(input.size())) return system_error("put back what was typed into a pseudo terminal");
  }
  if (state.exclusive()) {
    const Fd slave = TRY(open_slave(master, O_RDWR));
    if (ioctl(slave.get(), TIOCEXCL) != 0) return system_error("set a pseudo terminal to exclusive mode");
  }
  if (state.locked() && ioctl(master, TIOCSPTLCK, &on) != 0) return system_error("lock a pseudo terminal");
  return {};
}

}  // namespace perdure::posix
