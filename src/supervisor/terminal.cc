#include "supervisor/terminal.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <span>

#include "linux/pseudo_terminal.h"

namespace perdure::supervisor {

namespace {

constexpr int kDrainTimeoutMs = 200;

bool write_all(int to, std::span<const char> bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(to, bytes.data(), bytes.size());
    if (put < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (put <= 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(put));
  }
  return true;
}

/// False when nothing more will come from `from`.
bool pass(int from, int to) {
  std::array<char, 16384> buffer;
  const ssize_t got = ::read(from, buffer.data(), buffer.size());
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return true;
  return got > 0 && write_all(to, std::span(buffer.data(), static_cast<size_t>(got)));
}

}  // namespace

GroupTerminal::GroupTerminal(int real, Fd master, Fd slave)
    : real_(real), master_(std::move(master)), slave_(std::move(slave)), stop_(eventfd(0, EFD_CLOEXEC)) {}

Result<std::unique_ptr<GroupTerminal>> GroupTerminal::create(int real, const std::optional<Fd>& file_system, unsigned number) {
  const auto open = [&]() -> Result<Fd> {
    Fd master(file_system ? ::openat(file_system->get(), "ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC) : ::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC));
    if (!master) return system_error("open /dev/ptmx");
    return master;
  };
  Fd master = file_system ? TRY(open_master(number, open)) : TRY(open());
  if (unlockpt(master.get()) != 0) return system_error("unlock a pseudo terminal");
  // TIOCGPTPEER: the other end, wherever its file system is mounted.
  Fd slave(ioctl(master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!slave) return system_error("open a pseudo terminal");
  std::unique_ptr<GroupTerminal> terminal(new GroupTerminal(real, std::move(master), std::move(slave)));
  termios mode{};
  if (tcgetattr(real, &mode) != 0) return system_error("read the terminal's settings");
  terminal->old_mode_ = mode;
  tcsetattr(terminal->slave_.get(), TCSANOW, &mode);
  terminal->resize();
  return terminal;
}

void GroupTerminal::resize() {
  winsize size{};
  if (ioctl(real_, TIOCGWINSZ, &size) == 0) ioctl(master_.get(), TIOCSWINSZ, &size);
}

void GroupTerminal::set_raw(bool raw) {
  termios mode = *old_mode_;
  if (raw) cfmakeraw(&mode);
  tcsetattr(real_, TCSADRAIN, &mode);
}

void GroupTerminal::connect() {
  set_raw(true);
  thread_ = std::thread([this] { pass_bytes(); });
}

void GroupTerminal::pass_bytes() {
  bool input_open = true;
  for (;;) {
    std::array<pollfd, 3> wanted{
        {{master_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}, {input_open ? real_ : -1, POLLIN, 0}}};
    if (::poll(wanted.data(), wanted.size(), -1) < 0) continue;
    if (wanted[2].revents != 0) input_open = pass(real_, master_.get());
    if ((wanted[0].revents & POLLIN) != 0 && !pass(master_.get(), real_)) return;
    if (wanted[1].revents != 0) break;
    if ((wanted[0].revents & POLLHUP) != 0) return;
  }
  pollfd rest{master_.get(), POLLIN, 0};
  while (::poll(&rest, 1, kDrainTimeoutMs) > 0 && (rest.revents & POLLIN) != 0 && pass(master_.get(), real_)) {
  }
}

GroupTerminal::~GroupTerminal() {
  slave_.reset();
  if (thread_.joinable()) {
    const uint64_t one = 1;
    (void)!::write(stop_.get(), &one, sizeof one);
    thread_.join();
    set_raw(false);
  }
}

}  // namespace perdure::supervisor
