#include "linux/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <limits.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <sstream>

#include "base/clock.h"

namespace perdure {

Result<Fd> open_pidfd(pid_t pid) {
  constexpr unsigned kOfThread = O_EXCL;  // PIDFD_THREAD, Linux 6.9
  Fd fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!fd) fd = Fd(static_cast<int>(syscall(SYS_pidfd_open, pid, kOfThread)));
  if (!fd) return system_error(fmt::format("open a pidfd of process {}", pid));
  return fd;
}

Result<Fd> duplicate_descriptor(int pidfd, int number) {
  Fd fd(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd, number, 0)));
  if (!fd) return system_error(fmt::format("duplicate descriptor {} of the process", number));
  return fd;
}

Result<Fd> duplicate_descriptor_of(pid_t pid, int number) { return duplicate_descriptor(TRY(open_pidfd(pid)).get(), number); }

Result<Fd> open_process_memory(pid_t pid) {
  const std::string path = fmt::format("/proc/{}/mem", pid);
  Fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd) return system_error("open " + path);
  return fd;
}

namespace {

/// A page that is still to be filled by way of a userfaultfd is an error to /proc/PID/mem; process_vm_readv(2) waits for it.
bool await_page(int process_memory, uint64_t address) {
  const auto path = read_link(fmt::format("/proc/self/fd/{}", process_memory));
  int pid = 0;
  if (!path || std::sscanf(path->c_str(), "/proc/%d/mem", &pid) != 1) return false;
  std::byte byte;
  return read_pieces(pid, std::array{RemotePiece{address, 1}}, &byte) == 1;
}

/// transfer(), once more where it has met a page that is there by now.
template <typename Transfer>
ssize_t transfer_awaiting_page(int process_memory, uint64_t address, Transfer transfer) {
  const ssize_t done = transfer();
  const int problem = errno;
  if (done < 0 && problem == EIO && await_page(process_memory, address)) return transfer();
  errno = problem;
  return done;
}

}  // namespace

Result<void> read_memory(int process_memory, uint64_t address, std::span<std::byte> to) {
  while (!to.empty()) {
    const ssize_t got = transfer_awaiting_page(process_memory, address,
                                               [&] { return ::pread(process_memory, to.data(), to.size(), static_cast<off_t>(address)); });
    if (got < 0) return system_error(fmt::format("read memory at {:x}", address));
    if (got == 0) return failure(fmt::format("read memory at {:x}: nothing there", address));
    to = to.subspan(static_cast<size_t>(got));
    address += static_cast<uint64_t>(got);
  }
  return {};
}

Result<void> write_memory(int process_memory, uint64_t address, std::span<const std::byte> from) {
  while (!from.empty()) {
    const ssize_t put = transfer_awaiting_page(process_memory, address,
                                               [&] { return ::pwrite(process_memory, from.data(), from.size(), static_cast<off_t>(address)); });
    if (put < 0) return system_error(fmt::format("write memory at {:x}", address));
    if (put == 0) return failure(fmt::format("write memory at {:x}: nothing there", address));
    from = from.subspan(static_cast<size_t>(put));
    address += static_cast<uint64_t>(put);
  }
  return {};
}

size_t read_pieces(pid_t pid, std::span<const RemotePiece> pieces, std::byte* to) {
  std::array<iovec, 512> remote;
  size_t done = 0;
  while (!pieces.empty()) {
    const size_t count = std::min(pieces.size(), remote.size());
    size_t wanted = 0;
    for (size_t i = 0; i < count; ++i) {
      remote[i] = {reinterpret_cast<void*>(pieces[i].address), pieces[i].size};
      wanted += pieces[i].size;
    }
    const iovec local{to + done, wanted};
    const ssize_t got = process_vm_readv(pid, &local, 1, remote.data(), count, 0);
    if (got > 0) done += static_cast<size_t>(got);
    if (got < 0 || static_cast<size_t>(got) != wanted) break;
    pieces = pieces.subspan(count);
  }
  return done;
}

std::string process_stat_field(pid_t pid, int number) {
  constexpr int kState = 3;  // the first behind the name, which may hold anything, parentheses and blanks too
  const auto text = read_file(fmt::format("/proc/{}/stat", pid));
  const size_t name_end = text ? text->rfind(')') : std::string::npos;
  if (name_end == std::string::npos) return {};
  std::istringstream fields(text->substr(name_end + 1));
  std::string field;
  for (int at = kState; at <= number; ++at) fields >> field;
  return fields ? field : std::string();
}

char process_state(pid_t pid) {
  const std::string state = process_stat_field(pid, 3);
  return state.empty() ? '\0' : state.front();
}

unsigned runnable_tasks() {
  const auto load = read_file("/proc/loadavg");
  unsigned runnable = 0;
  return load && std::sscanf(load->c_str(), "%*s %*s %*s %u/", &runnable) == 1 ? runnable : 0;
}

Result<std::string> read_file(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return system_error("open " + path);
  std::string contents;
  std::array<char, 16384> buffer;
  for (;;) {
    const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error("read " + path);
    if (got == 0) return contents;
    contents.append(buffer.data(), static_cast<size_t>(got));
  }
}

Result<std::string> read_link(const std::string& path) {
  std::array<char, PATH_MAX> buffer;
  const ssize_t got = ::readlink(path.c_str(), buffer.data(), buffer.size());
  if (got < 0) return system_error("read link " + path);
  return std::string(buffer.data(), static_cast<size_t>(got));
}

Result<void> write_file(const std::string& path, const std::string& contents) {
  Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return system_error("open " + path);
  if (::write(fd.get(), contents.data(), contents.size()) != static_cast<ssize_t>(contents.size())) {
    return system_error("write " + path);
  }
  return {};
}

Result<ClockOffsets> clock_offsets(pid_t pid) {
  // Lines "monotonic SECONDS NANOSECONDS" and "boottime ...".
  std::istringstream lines(TRY(read_file(fmt::format("/proc/{}/timens_offsets", pid))));
  ClockOffsets offsets;
  std::string name;
  int64_t seconds = 0;
  int64_t nanoseconds = 0;
  while (lines >> name >> seconds >> nanoseconds) {
    (name == "monotonic" ? offsets.monotonic_ns : offsets.boottime_ns) = seconds * kNanosecondsPerSecond + nanoseconds;
  }
  return offsets;
}

Result<std::vector<SpecialMapping>> special_mappings(pid_t pid) {
  std::vector<SpecialMapping> found;
  std::istringstream lines(TRY(read_file(fmt::format("/proc/{}/maps", pid))));
  for (std::string line; std::getline(lines, line);) {
    const size_t name = line.find("[v");
    if (name == std::string::npos || line.substr(name) == "[vsyscall]") continue;
    SpecialMapping mapping{line.substr(name), 0, 0};
    if (sscanf(line.c_str(), "%lx-%lx", &mapping.start, &mapping.end) == 2) found.push_back(mapping);
  }
  return found;
}

Result<uint64_t> namespace_inode(pid_t pid, const char* kind) {
  const std::string path = fmt::format("/proc/{}/ns/{}", pid, kind);
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return system_error("stat " + path);
  return status.st_ino;
}

Result<void> enter_ipc_namespace(pid_t pid) {
  const std::string path = fmt::format("/proc/{}/ns/ipc", pid);
  const Fd space(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!space) return system_error("open " + path);
  if (setns(space.get(), CLONE_NEWIPC) != 0) return system_error("enter the group's IPC namespace");
  return {};
}

}  // namespace perdure
