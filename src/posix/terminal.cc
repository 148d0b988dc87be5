#include "posix/terminal.h"

#include <asm/termbits.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "posix/file_kind.h"
#include "posix/kinds.h"

namespace perdure::posix {

namespace {

constexpr uint32_t kMasterMajor = 128;  // UNIX98_PTY_MASTER_MAJOR of include/uapi/linux/major.h
constexpr uint32_t kSlaveMajor = 136;

/// What the line discipline has taken in: its ring, from the oldest byte to the newest.
struct Received {
  std::string bytes;
  std::vector<uint32_t> line_ends;
};

bool gathers_lines(const TerminalEnd& end) {
  termios2 settings{};
  static_assert(sizeof settings == sizeof end.settings);
  std::memcpy(&settings, end.settings, sizeof settings);
  return (settings.c_lflag & ICANON) != 0 && (settings.c_lflag & EXTPROC) == 0;
}

Received received(const TerminalEnd& end, std::span<const TerminalInputRecord* const> input) {
  Received result;
  if (input.empty() || input.front()->index != 0) return result;
  const auto ring = input_bytes(*input.front());
  for (uint64_t at = end.read_tail; at < end.read_head && result.bytes.size() < kTerminalRingBytes; ++at) {
    const uint64_t place = at % kTerminalRingBytes;
    const bool ends_line = (std::to_integer<unsigned>(ring[kTerminalRingBytes + place / 8]) >> place % 8 & 1) != 0;
    if (ends_line) result.line_ends.push_back(static_cast<uint32_t>(result.bytes.size()));
    result.bytes += static_cast<char>(ring[place]);
  }
  return result;
}

/// What waits before the line discipline. As long as that has room, the kernel is about to hand it on.
Result<std::string> unprocessed(const TerminalEnd& end, std::span<const TerminalInputRecord* const> input) {
  std::string bytes;
  for (const TerminalInputRecord* buffer : input) {
    if (buffer->index == 0) continue;
    if (end.has_no_room == 0) return passing_failure("bytes are on their way through it", Retry::later);
    if (buffer->length > kTerminalBufferLimit) return failure("more waits in it than can be read");
    bytes.append(reinterpret_cast<const char*>(input_bytes(*buffer).data()), buffer->length);
  }
  return bytes;
}

Result<void> refuse(const TerminalRecord& source) {
  const TerminalEnd& slave = source.slave;
  if (source.master.is_moving != 0 || slave.is_moving != 0) return passing_failure("bytes are on their way through it", Retry::later);
  if (source.master.line_discipline != 0 || slave.line_discipline != 0) return failure("it has another line discipline than N_TTY");
  if (std::ranges::any_of(slave.locked_settings, [](uint8_t byte) { return byte != 0; })) return failure("settings of it are locked (TIOCSLCKTRMIOS)");
  if (source.master.packet_mode != 0 && slave.packet_status != 0) return failure("a change of its state is yet to be read (packet mode)");
  if (slave.echo_head != slave.echo_tail) return failure("echoes of what was typed wait in it");
  return {};
}

Result<void> capture_pair(const TerminalRecord& source, const FileTable& table, PseudoTerminal& state) {
  TRY(refuse(source));
  const TerminalEnd& master = source.master;
  const TerminalEnd& slave = source.slave;
  state.set_settings(slave.settings, sizeof slave.settings);
  state.set_window_size(slave.window_size, sizeof slave.window_size);
  state.set_uid(source.uid);
  state.set_gid(source.gid);
  state.set_mode(source.mode & 07777);
  state.set_opened(master.other_closed != 0 || slave.opens > 1);
  state.set_locked(master.locked != 0);
  state.set_exclusive(slave.exclusive != 0);
  state.set_packet_mode(master.packet_mode != 0);
  state.set_stopped(slave.stopped != 0);
  state.set_stopped_by_call(slave.stopped_by_call != 0);
  state.set_master_stopped_by_call(master.stopped_by_call != 0);
  state.set_foreground_group(static_cast<int>(source.foreground_group));
  const auto to_master = table.terminal_input.of(source.terminal);
  const auto to_slave = table.terminal_input.of(source.other_end);
  state.set_output(received(master, to_master).bytes + TRY(unprocessed(master, to_master)));
  const Received input = received(slave, to_slave);
  state.set_input(input.bytes);
  if (gathers_lines(slave)) state.mutable_line_ends()->Add(input.line_ends.begin(), input.line_ends.end());
  state.set_pushed(slave.pushed != 0);
  state.set_quotes_next(slave.quotes_next != 0);
  state.set_unprocessed_input(TRY(unprocessed(slave, to_slave)));
  const bool has_input = !state.input().empty() || !state.unprocessed_input().empty();
  if (!state.opened() && has_input) return failure("something was typed into it before anybody has opened it");
  return {};
}

class TerminalKind final : public FileKind {
 public:
  const char* name() const override { return "terminal"; }
  OpenFile::KindCase record_case() const override { return OpenFile::kTerminal; }

  bool recognizes(const FileSource& source, const CaptureContext&) const override {
    const TerminalRecord* terminal = source.table.terminals.find(source.record.file);
    return terminal != nullptr && (terminal->major == kMasterMajor || terminal->major == kSlaveMajor);
  }

  Result<void> capture(const FileSource& source, CaptureContext& context, OpenFile& file) const override {
    const TerminalRecord& found = *source.table.terminals.find(source.record.file);
    const bool is_master = found.major == kMasterMajor;
    Terminal& terminal = *file.mutable_terminal();
    terminal.set_pair(is_master ? found.other_end : found.terminal);
    terminal.set_number(found.index);
    terminal.set_hung_up(found.hung_up != 0);
    if (!is_master) return {};
    if (found.hung_up != 0) return failure("its master side was hung up");
    terminal.set_master_path(TRY(context.path_of(source)));
    if (terminal.master_path() != "/dev/ptmx" && terminal.master_path() != "/dev/pts/ptmx") {
      return failure(fmt::format("'{}' belongs to another devpts file system than the one at /dev/pts", terminal.master_path()));
    }
    return capture_pair(found, source.table, *terminal.mutable_state());
  }

  Result<Fd> restore(ObjectId id, const OpenFile&, RestoreContext& context) const override {
    const auto made = context.terminals.files.find(id);
    if (made == context.terminals.files.end()) return failure("a pseudo terminal was not made");
    return std::move(made->second);
  }

  Result<void> connect(ObjectId, const OpenFile& file, int fd, RestoreContext& context) const override {
    if (!file.terminal().has_state()) return {};
    return fill_terminal(fd, file.terminal().state(), file.terminal().number(), context);
  }

  Result<void> settle(const OpenFile& file, int fd) const override {
    return file.terminal().has_state() ? settle_terminal(fd, file.terminal().state()) : Result<void>{};
  }
};

}  // namespace

const FileKind* terminal_kind() {
  static const TerminalKind kind;
  return &kind;
}

}  // namespace perdure::posix
