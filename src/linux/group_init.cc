#include "linux/group_init.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>

#include "base/clock.h"
#include "linux/process.h"

extern "C" {
extern const char perdure_init_image[];
extern const char perdure_init_image_end[];
}

namespace perdure {

namespace {

Result<Fd> memory_file(const char* name, std::span<const std::byte> contents) {
  Fd file(memfd_create(name, MFD_CLOEXEC));
  if (!file) return system_error("memfd_create");
  if (::write(file.get(), contents.data(), contents.size()) != static_cast<ssize_t>(contents.size())) {
    return system_error("write a memfd");
  }
  return file;
}

struct SocketPair {
  Fd ours;
  Fd theirs;
};
Result<SocketPair> socket_pair() {
  std::array<int, 2> ends;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) return system_error("socketpair");
  return SocketPair{Fd(ends[0]), Fd(ends[1])};
}

/// Offsets count from the initial time namespace, also where the supervisor is in another one.
Result<std::string> offsets_to_reach(const GroupClocks& clocks) {
  const ClockOffsets own = TRY(clock_offsets(getpid()));
  const auto line = [](const char* name, int64_t offset_ns) {
    int64_t seconds = offset_ns / kNanosecondsPerSecond;
    int64_t rest = offset_ns % kNanosecondsPerSecond;
    if (rest < 0) {
      rest += kNanosecondsPerSecond;
      --seconds;
    }
    return fmt::format("{} {} {}\n", name, seconds, rest);
  };
  return line("monotonic", clocks.monotonic_ns - clock_ns(CLOCK_MONOTONIC) + own.monotonic_ns) +
         line("boottime", clocks.boottime_ns - clock_ns(CLOCK_BOOTTIME) + own.boottime_ns);
}

/// What the launcher (a fork, which must not allocate) needs.
struct Launch {
  int image;
  int socket;
  int supervisor;
  int transport;
  int terminal;
  int terminal_file_system;
  std::string offsets;
  const char* mode;
  std::string name;
};

[[noreturn]] void become_init(const Launch& launch) {
  // First out of the way of the fixed numbers, then onto them.
  constexpr int kAside = 200;
  const std::array<int, 5> wanted{launch.socket, launch.supervisor, launch.transport, launch.terminal, launch.terminal_file_system};
  const int image = fcntl(launch.image, F_DUPFD, kAside + 10);
  for (int i = 0; i < static_cast<int>(wanted.size()); ++i) {
    if (wanted[static_cast<size_t>(i)] >= 0) dup3(wanted[static_cast<size_t>(i)], kAside + i, 0);
  }
  for (int i = 0; i < static_cast<int>(wanted.size()); ++i) {
    if (dup2(kAside + i, PERDURE_INIT_SOCKET + i) < 0) close(PERDURE_INIT_SOCKET + i);
    close(kAside + i);
  }
  close_range(PERDURE_INIT_TERMINALS + 1, kAside + 9, 0);
  close_range(static_cast<unsigned>(image) + 1, ~0u, 0);
  fcntl(image, F_SETFD, FD_CLOEXEC);
  char name[] = "perdure-init";
  char* const arguments[] = {name, const_cast<char*>(launch.mode), const_cast<char*>(launch.name.c_str()), nullptr};
  // Bare tasks lose the memory in which a registered rseq area would lie.
  char no_rseq[] = "GLIBC_TUNABLES=glibc.pthread.rseq=0";
  char* const environment[] = {no_rseq, nullptr};
  fexecve(image, arguments, environment);
  _exit(127);
}

/// Runs in the forked launcher: prepares namespaces for its children, leaves init behind as a child of the supervisor.
[[noreturn]] void launch_init(const Launch& launch, int report) {
  const auto fail = [&](int code) {
    (void)!::write(report, &code, sizeof code);
    _exit(1);
  };
  if (unshare(CLONE_NEWTIME | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWNS) != 0) fail(-errno);
  if (!launch.offsets.empty()) {
    const int file = ::open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
    if (::write(file, launch.offsets.data(), launch.offsets.size()) < 0) fail(-errno);
    ::close(file);
  }
  clone_args arguments{};
  arguments.flags = CLONE_PARENT;
  const long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
  if (pid == 0) become_init(launch);
  if (pid < 0) fail(-errno);
  const int code = static_cast<int>(pid);
  (void)!::write(report, &code, sizeof code);
  _exit(0);
}

}  // namespace

Result<void> send_descriptors(int socket, std::span<const int> descriptors) {
  char byte = 0;
  iovec vector{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 253)> control{};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(descriptors.size_bytes());
  std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size_bytes());
  if (sendmsg(socket, &message, MSG_NOSIGNAL) != 1) return system_error("send descriptors");
  return {};
}

Result<GroupInit> GroupInit::launch(const Options& options) {
  const auto image = TRY(memory_file(
      PERDURE_INIT_IMAGE, std::as_bytes(std::span(perdure_init_image,
                                              static_cast<size_t>(perdure_init_image_end - perdure_init_image)))));
  auto control = TRY(socket_pair());
  auto transport = TRY(socket_pair());
  const auto self = TRY(open_pidfd(getpid()));
  std::array<int, 2> report;
  if (pipe2(report.data(), O_CLOEXEC) != 0) return system_error("pipe");
  Fd report_read(report[0]);
  Fd report_write(report[1]);

  const Launch launch{image.get(),
                      control.theirs.get(),
                      self.get(),
                      transport.theirs.get(),
                      options.terminal_master,
                      options.terminal_file_system,
                      options.clocks ? TRY(offsets_to_reach(*options.clocks)) : std::string(),
                      options.survive_supervisor ? PERDURE_INIT_CONTINUE : PERDURE_INIT_KILL,
                      options.name};
  const pid_t launcher = fork();
  if (launcher < 0) return system_error("fork");
  if (launcher == 0) launch_init(launch, report_write.get());
  report_write.reset();
  int code = 0;
  const bool reported = ::read(report_read.get(), &code, sizeof code) == sizeof code;
  waitpid(launcher, nullptr, 0);
  if (!reported) return failure("the launcher of the group's namespaces died");
  if (code < 0) return std::unexpected(Error{"create the group's namespaces (see perdure doctor)", -code});

  GroupInit init;
  init.init_pid_ = code;
  init.socket_ = std::move(control.ours);
  init.transport_ = std::move(transport.ours);
  control.theirs.reset();
  const auto ready = TRY(init.receive());
  if (!ready || ready->kind != PERDURE_INIT_READY || ready->pid == 0) {
    return std::unexpected(Error{"start the group's init", ready ? ready->status : 0});
  }
  init.pid_namespace_ = TRY(namespace_inode(init.init_pid_, "pid"));
  const std::string children = TRY(read_file(fmt::format("/proc/{0}/task/{0}/children", init.init_pid())));
  init.shepherd_pid_ = static_cast<pid_t>(std::strtol(children.c_str(), nullptr, 10));
  if (init.shepherd_pid_ <= 0) return failure("the group's shepherd is gone");
  return init;
}

GroupInit::~GroupInit() {
  if (init_pid_ <= 0) return;
  kill(init_pid_, SIGKILL);
  waitpid(init_pid_, nullptr, __WALL);
}

Result<std::optional<perdure_init_message>> GroupInit::receive() {
  perdure_init_message message{};
  ssize_t got;
  do got = ::recv(socket_.get(), &message, sizeof message, 0);
  while (got < 0 && errno == EINTR);
  if (got < 0 && errno != ECONNRESET) return system_error("hear from the group's init");
  if (got != sizeof message) return std::optional<perdure_init_message>{};
  return message;
}

Result<pid_t> GroupInit::start(const StartPlan& plan) {
  perdure_start_plan header{};
  header.argument_count = static_cast<uint32_t>(plan.arguments.size());
  header.environment_count = static_cast<uint32_t>(plan.environment.size());
  header.take_terminal = plan.take_terminal ? 1 : 0;
  header.signal_mask = plan.signal_mask;
  std::vector<gid_t> groups;
  if (plan.user) {
    header.change_user = 1;
    header.uid = plan.user->uid;
    header.gid = plan.user->gid;
    groups = plan.user->groups;
    header.group_count = static_cast<uint32_t>(groups.size());
  }
  std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
  bytes.append(reinterpret_cast<const char*>(groups.data()), groups.size() * sizeof(gid_t));
  for (const auto& argument : plan.arguments) bytes.append(argument.c_str(), argument.size() + 1);
  for (const auto& entry : plan.environment) bytes.append(entry.c_str(), entry.size() + 1);
  const auto file = TRY(memory_file("perdure-start", std::as_bytes(std::span(bytes))));
  const std::array<int, 5> descriptors{file.get(), plan.working_directory, plan.standard_input, plan.standard_output,
                                       plan.standard_error};
  TRY(send_descriptors(socket_.get(), descriptors));
  const auto started = TRY(receive());
  if (!started || started->kind != PERDURE_INIT_STARTED || started->pid <= 0) {
    return std::unexpected(Error{"start the program", started ? started->status : 0});
  }
  return started->pid;
}

}  // namespace perdure
