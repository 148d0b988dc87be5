#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "linux/process.h"
#include "posix/file_kind.h"
#include "posix/kinds.h"

namespace perdure::posix {

namespace {

constexpr int kPidfdThread = O_EXCL;  // PIDFD_THREAD, also as a status flag

/// A process in another PID namespace, which exits at once.
pid_t fork_into(int pid_namespace) {
  if (setns(pid_namespace, CLONE_NEWPID) != 0) return -1;
  const pid_t child = fork();
  if (child == 0) _exit(0);
  return child;
}

/// A pidfd of a process of the group that is gone: signals to those of other namespaces fail differently.
Result<Fd> dead_pidfd(pid_t init_pid) {
  const std::string path = fmt::format("/proc/{}/ns/pid", init_pid);
  const Fd pid_namespace(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!pid_namespace) return system_error("open " + path);
  pid_t child = -1;
  int error = 0;
  std::thread([&] {
    child = fork_into(pid_namespace.get());
    error = errno;
  }).join();
  if (child < 0) return std::unexpected(Error{"make a process in the group", error});
  auto fd = open_pidfd(child);
  siginfo_t information;
  waitid(P_PID, static_cast<id_t>(child), &information, WEXITED);
  return fd;
}

class PidFdKind final : public FileKind {
 public:
  const char* name() const override { return "pidfd"; }
  OpenFile::KindCase record_case() const override { return OpenFile::kPidfd; }
  bool recognizes(const FileSource& source, const CaptureContext&) const override { return source.record.kind == kPidfdFile; }

  Result<void> capture(const FileSource& source, CaptureContext&, OpenFile& file) const override {
    const PidfdRecord* state = source.table.pidfds.find(source.record.file);
    if (state == nullptr) return failure("its state could not be read");
    if (state->pid == 0 && state->host_pid != 0) return failure(fmt::format("it stands for process {} outside of the group", state->host_pid));
    PidFd& pidfd = *file.mutable_pidfd();
    pidfd.set_pid(static_cast<int>(state->pid));
    pidfd.set_thread((source.record.flags & kPidfdThread) != 0);
    return {};
  }

  Result<Fd> restore(ObjectId, const OpenFile& file, RestoreContext& context) const override {
    const PidFd& pidfd = file.pidfd();
    if (pidfd.pid() == 0) return dead_pidfd(context.init.init_pid());
    const pid_t host_pid = context.host_pid(pidfd.pid());
    if (host_pid == 0) return failure(fmt::format("a pidfd stands for process {}, which the checkpoint does not hold", pidfd.pid()));
    Fd fd(static_cast<int>(syscall(SYS_pidfd_open, host_pid, pidfd.thread() ? kPidfdThread : 0)));
    if (!fd) return system_error(fmt::format("open a pidfd of process {}", pidfd.pid()));
    return fd;
  }
};

}  // namespace

const FileKind* pidfd_kind() {
  static const PidFdKind kind;
  return &kind;
}

}  // namespace perdure::posix
