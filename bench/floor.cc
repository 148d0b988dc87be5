// The floor of a pause: what the kernel's bare primitives take on a process like the one that Perdure pauses.
//   floor --period-us N --samples FILE --directory DIR [--first] -- LOAD ARGUMENTS
//   floor --period-us N --samples FILE --pid PID [--steps 1|2|3]
// Starts the load (load.c) and, every period: interrupts its busy threads (sleepers are left asleep), scans and protects its memory, copies what was written,
// lets go. Every other pause is made from the core of a busy thread, which is cheaper or dearer as the machine is. With --first there is one pause, which
// begins the tracking and copies everything. With --pid it does so to any process that runs already, in those of its threads that run, until that process or
// SIGTERM ends it: what it has mapped by then is tracked. With --steps 1 it only interrupts, with --steps 2 nothing is copied. FILE gets a line a pause: "REALTIME_NS SAME_CORE STOP_US SCAN_US COPY_US PAUSE_US DIRTY_PAGES".
#include <fcntl.h>
#include <fmt/format.h>
#include <getopt.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/fd.h"
#include "linux/pagemap.h"
#include "linux/process.h"
#include "linux/ptrace.h"
#include "linux/remote.h"
#include "linux/remote_userfaultfd.h"
#include "linux/uapi.h"
#include "linux/userfaultfd.h"

using namespace perdure;

namespace {

constexpr size_t kCopyBytes = size_t{64} << 20;

struct Options {
  int64_t period_us = 10000;
  std::string samples;
  std::string directory;
  bool first = false;
  pid_t pid = 0;  ///< in place of the load
  int steps = 3;
  char** load = nullptr;
};

struct Mapping {
  uint64_t start, end;
};

/// The memory of one process of the load.
struct Space {
  pid_t pid = 0;
  Fd userfaultfd;
  Fd pagemap;
  std::vector<Mapping> tracked;
};

struct Sample {
  int64_t realtime_ns = 0;
  bool same_core = false;
  int64_t begin_ns = 0, stopped_ns = 0, scanned_ns = 0, copied_ns = 0, released_ns = 0;
  uint64_t dirty_pages = 0;
};

Result<void> enable_tracking_over_fork(int userfaultfd) {
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = linux_uapi::kUffdFeatureWpAsync | linux_uapi::kUffdFeatureWpUnpopulated | linux_uapi::kUffdFeatureWpHugetlbfsShmem | UFFD_FEATURE_EVENT_FORK;
  if (ioctl(userfaultfd, UFFDIO_API, &api) != 0) return system_error("UFFDIO_API");
  return {};
}

Result<std::vector<Mapping>> writable_mappings(pid_t pid) {
  std::istringstream maps(TRY(read_file(fmt::format("/proc/{}/maps", pid))));
  std::vector<Mapping> found;
  for (std::string line; std::getline(maps, line);) {
    Mapping mapping{};
    char writable = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx %*c%c", &mapping.start, &mapping.end, &writable) == 3 && writable == 'w') found.push_back(mapping);
  }
  return found;
}

Result<uint64_t> vdso_of(pid_t pid) {
  for (const SpecialMapping& mapping : TRY(special_mappings(pid)))
    if (mapping.name == "[vdso]") return mapping.start;
  return failure(fmt::format("process {} has no vDSO", pid));
}

/// The core that a thread runs on (proc(5), /proc/PID/stat, field 39).
Result<int> core_of(pid_t tid) {
  const std::string stat = TRY(read_file(fmt::format("/proc/{}/stat", tid)));
  std::istringstream fields(stat.substr(stat.rfind(')') + 2));
  std::string field;
  for (int number = 3; number <= 39; ++number) fields >> field;
  return std::atoi(field.c_str());
}

/// While it lives, this thread runs on one core.
class OnCore {
 public:
  explicit OnCore(int core) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<size_t>(core), &one);
    sched_getaffinity(0, sizeof before_, &before_);
    sched_setaffinity(0, sizeof one, &one);
  }
  OnCore(const OnCore&) = delete;
  OnCore& operator=(const OnCore&) = delete;
  ~OnCore() { sched_setaffinity(0, sizeof before_, &before_); }

 private:
  cpu_set_t before_{};
};

/// The running load: what it said, and what is tracked of it.
class Load {
 public:
  static Result<std::unique_ptr<Load>> start(const Options& options);
  /// In its place a process that runs already.
  static Result<std::unique_ptr<Load>> join(pid_t pid);
  ~Load();

  /// Waits so long for words of the load; false once there will be none any more.
  bool listen(int64_t timeout_ns);
  const std::vector<pid_t>& processes() const { return processes_; }
  const std::vector<pid_t>& busy() const { return busy_; }
  /// Looks which threads run, of a process that does not say so.
  void look();
  const std::string& last_line() const { return last_line_; }
  /// Children that it forked since the last call.
  std::vector<pid_t> take_children() { return std::exchange(children_, {}); }

 private:
  void hear(const std::string& line);
  pid_t pid_ = 0;  ///< that was started,
  Fd output_;
  Fd ended_, end_;  ///< or of that which was not: a pidfd, and SIGTERM for us
  std::string heard_;
  std::string last_line_;
  std::vector<pid_t> processes_, busy_, children_;
};

Result<std::unique_ptr<Load>> Load::start(const Options& options) {
  auto load = std::make_unique<Load>();
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return system_error("pipe");
  load->output_.reset(ends[0]);
  Fd writer(ends[1]);
  load->pid_ = fork();
  if (load->pid_ < 0) return system_error("fork");
  if (load->pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(writer.get(), STDOUT_FILENO);
    execvp(options.load[0], options.load);
    _exit(127);
  }
  const std::string ready = options.directory + "/ready";
  while (access(ready.c_str(), F_OK) != 0)
    if (!load->listen(kNanosecondsPerSecond / 100)) return failure("the load ended before it was ready");
  return load;
}

Result<std::unique_ptr<Load>> Load::join(pid_t pid) {
  auto load = std::make_unique<Load>();
  load->processes_.push_back(pid);
  load->ended_.reset(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!load->ended_) return system_error(fmt::format("process {}", pid));
  sigset_t ending;
  sigemptyset(&ending);
  sigaddset(&ending, SIGTERM);
  sigprocmask(SIG_BLOCK, &ending, nullptr);
  load->end_.reset(signalfd(-1, &ending, SFD_CLOEXEC));
  return load;
}

void Load::look() {
  busy_.clear();
  std::error_code gone;
  for (const auto& entry : std::filesystem::directory_iterator(fmt::format("/proc/{}/task", processes_.front()), gone)) {
    const pid_t tid = std::atoi(entry.path().filename().c_str());
    if (process_state(tid) == 'R') busy_.push_back(tid);
  }
}

Load::~Load() {
  if (pid_ == 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

bool Load::listen(int64_t timeout_ns) {
  const timespec timeout = to_timespec(std::max<int64_t>(timeout_ns, 0));
  if (ended_) {
    pollfd ends[] = {{ended_.get(), POLLIN, 0}, {end_.get(), POLLIN, 0}};
    return ppoll(ends, 2, &timeout, nullptr) <= 0;
  }
  pollfd ready{output_.get(), POLLIN, 0};
  if (ppoll(&ready, 1, &timeout, nullptr) <= 0) return true;
  char text[65536];
  const ssize_t got = read(output_.get(), text, sizeof text);
  if (got <= 0) return false;
  heard_.append(text, static_cast<size_t>(got));
  for (size_t end; (end = heard_.find('\n')) != std::string::npos; heard_.erase(0, end + 1)) hear(heard_.substr(0, end));
  return true;
}

void Load::hear(const std::string& line) {
  int number = 0;
  if (std::sscanf(line.c_str(), "process %d", &number) == 1) processes_.push_back(number);
  else if (std::sscanf(line.c_str(), "busy %d", &number) == 1) busy_.push_back(number);
  else if (std::sscanf(line.c_str(), "child %d", &number) == 1) children_.push_back(number);
  else last_line_ = line;
}

class Floor {
 public:
  Floor(Options options, Load& load, std::byte* buffer) : options_(std::move(options)), load_(load), buffer_(buffer) {}
  ~Floor();

  /// Tracks every process from now on, none of its pages being dirty.
  Result<void> begin();
  Result<void> run_epochs();
  /// The one pause that begins the tracking and copies everything.
  Result<void> run_first();
  Result<void> write_samples() const;

 private:
  enum class Wait { spinning, asleep };
  Result<std::vector<TracedThread>> stop(const std::vector<pid_t>& tids, Wait wait);
  Result<Space> track(pid_t pid, TracedThread& leader);
  Result<void> scan(Space& space);
  void copy();
  Result<void> pause(bool same_core);
  void adopt_children();
  void take_fork_events();

  Options options_;
  Load& load_;
  std::byte* buffer_;
  std::list<Space> spaces_;
  std::vector<PageRegion> regions_;
  struct Dirty {
    pid_t pid;
    std::vector<RemotePiece> pieces;
  };
  std::vector<Dirty> dirty_;
  std::vector<Sample> samples_;

  std::mutex mutex_;
  std::vector<Fd> forked_;
  std::atomic<bool> over_ = false;
  std::thread fork_reader_;
};

Floor::~Floor() {
  over_ = true;
  if (fork_reader_.joinable()) fork_reader_.join();
}

/// fork(2) waits until its event was read: not by the thread that may be waiting for the forking one to stop.
void Floor::take_fork_events() {
  while (!over_) {
    pollfd ready{spaces_.front().userfaultfd.get(), POLLIN, 0};
    if (poll(&ready, 1, 10) <= 0) continue;
    auto child = read_fork_event(ready.fd);
    if (!child || !*child) continue;
    const std::lock_guard lock(mutex_);
    forked_.push_back(std::move(*child));
  }
}

void Floor::adopt_children() {
  std::erase_if(spaces_, [&](const Space& space) { return process_state(space.pid) == 0 || process_state(space.pid) == 'Z'; });
  for (const pid_t child : load_.take_children()) {
    auto pagemap = open_pagemap(child);
    const std::lock_guard lock(mutex_);
    if (forked_.empty() || !pagemap) continue;
    const Space& parent = spaces_.front();
    spaces_.push_back({child, std::move(forked_.front()), std::move(*pagemap), parent.tracked});
    forked_.erase(forked_.begin());
  }
}

/// Spinning is cheaper than being woken, but not on the core that the thread needs in order to stop.
Result<std::vector<TracedThread>> Floor::stop(const std::vector<pid_t>& tids, Wait wait) {
  std::vector<TracedThread> threads;
  for (const pid_t tid : tids) {
    threads.push_back(TRY(TracedThread::seize(tid, PTRACE_O_TRACESYSGOOD)));
    TRY(threads.back().interrupt());
  }
  for (TracedThread& thread : threads) {
    siginfo_t info{};
    if (wait == Wait::asleep) waitid(P_PID, static_cast<id_t>(thread.tid()), &info, WEXITED | WSTOPPED | WNOWAIT | __WALL);
    while (thread.look() == TracedThread::Sight::runs) continue;
    if (thread.gone()) return std::unexpected(Error{"a thread of the load ended", ESRCH});
  }
  return threads;
}

Result<Space> Floor::track(pid_t pid, TracedThread& leader) {
  const uint64_t vdso = TRY(vdso_of(pid));
  Space space;
  space.pid = pid;
  space.userfaultfd = TRY(open_remote_userfaultfd(leader, pid, vdso, vdso + TRY(find_vdso_syscall_offset())));
  TRY(enable_tracking_over_fork(space.userfaultfd.get()));
  space.pagemap = TRY(open_pagemap(pid));
  for (const Mapping& mapping : TRY(writable_mappings(pid))) {
    if (!TRY(register_write_tracking(space.userfaultfd.get(), mapping.start, mapping.end))) continue;
    // One scan of all is cheaper than one of each; in any program there may be much between them.
    const bool joined = !space.tracked.empty() && (options_.pid == 0 || space.tracked.back().end == mapping.start);
    if (joined) space.tracked.back().end = mapping.end;
    else space.tracked.push_back(mapping);
  }
  return space;
}

Result<void> Floor::begin() {
  for (const pid_t pid : load_.processes()) {
    auto leader = TRY(stop({pid}, Wait::asleep));
    spaces_.push_back(TRY(track(pid, leader.front())));
    TRY(scan(spaces_.back()));
  }
  fork_reader_ = std::thread([this] { take_fork_events(); });
  return {};
}

Result<void> Floor::scan(Space& space) {
  regions_.clear();
  const PageSelection written{.required = linux_uapi::kPageIsWritten, .inverted = 0, .any_of = 0, .reported = linux_uapi::kPageIsWritten, .protect = true};
  for (const Mapping& mapping : space.tracked) TRY(scan_pages(space.pagemap.get(), mapping.start, mapping.end, written, regions_));
  Dirty& dirty = dirty_.emplace_back(Dirty{space.pid, {}});
  for (const PageRegion& region : regions_)
    for (uint64_t at = region.start; at < region.end; at += kCopyBytes) dirty.pieces.push_back({at, std::min<uint64_t>(kCopyBytes, region.end - at)});
  return {};
}

/// Into one buffer, over and over.
void Floor::copy() {
  for (const Dirty& dirty : dirty_) {
    for (size_t first = 0; first < dirty.pieces.size();) {
      size_t end = first;
      for (size_t bytes = 0; end < dirty.pieces.size() && bytes + dirty.pieces[end].size <= kCopyBytes; ++end) bytes += dirty.pieces[end].size;
      read_pieces(dirty.pid, std::span(dirty.pieces).subspan(first, end - first), buffer_);
      first = end;
    }
  }
}

Result<void> Floor::pause(bool same_core) {
  if (options_.pid != 0) load_.look();
  const int core = TRY(core_of(load_.busy().empty() ? load_.processes().front() : load_.busy().front()));
  adopt_children();
  dirty_.clear();
  Sample sample{.realtime_ns = realtime_ns(), .same_core = same_core};
  {
    sample.begin_ns = monotonic_ns();
    std::optional<OnCore> on_core;
    if (same_core) on_core.emplace(core);
    auto threads = TRY(stop(load_.busy(), same_core || options_.pid != 0 ? Wait::asleep : Wait::spinning));
    sample.stopped_ns = monotonic_ns();
    if (options_.steps >= 2)
      for (Space& space : spaces_) TRY(scan(space));
    sample.scanned_ns = monotonic_ns();
    if (options_.steps >= 3) copy();
    sample.copied_ns = monotonic_ns();
    for (TracedThread& thread : threads) thread.detach();
    sample.released_ns = monotonic_ns();
  }
  for (const Dirty& dirty : dirty_)
    for (const RemotePiece& piece : dirty.pieces) sample.dirty_pages += piece.size / kPageSize;
  samples_.push_back(sample);
  return {};
}

Result<void> Floor::run_epochs() {
  int64_t next_ns = monotonic_ns();
  for (bool same_core = false;; same_core = !same_core && options_.pid == 0) {
    next_ns = std::max(next_ns + options_.period_us * 1000, monotonic_ns());
    do {
      if (!load_.listen(next_ns - monotonic_ns())) return {};
    } while (monotonic_ns() < next_ns);
    // A load that is ending takes its threads along.
    // So does any program with one of its threads.
    if (auto paused = pause(same_core); !paused && process_state(load_.processes().front()) != 'Z' && paused.error().error_number != ESRCH &&
                                        paused.error().error_number != ENOENT)
      return paused;
  }
}

Result<void> Floor::run_first() {
  std::vector<pid_t> tids = load_.processes();
  for (const pid_t tid : load_.busy())
    if (std::ranges::find(tids, tid) == tids.end()) tids.push_back(tid);
  Sample sample{.realtime_ns = realtime_ns(), .begin_ns = monotonic_ns()};
  auto threads = TRY(stop(tids, Wait::asleep));
  sample.stopped_ns = monotonic_ns();
  for (size_t i = 0; i < load_.processes().size(); ++i) {
    spaces_.push_back(TRY(track(load_.processes()[i], threads[i])));
    TRY(scan(spaces_.back()));
  }
  sample.scanned_ns = monotonic_ns();
  copy();
  sample.copied_ns = monotonic_ns();
  for (TracedThread& thread : threads) thread.detach();
  sample.released_ns = monotonic_ns();
  for (const Dirty& dirty : dirty_)
    for (const RemotePiece& piece : dirty.pieces) sample.dirty_pages += piece.size / kPageSize;
  samples_.push_back(sample);
  while (load_.listen(kNanosecondsPerSecond)) continue;
  return {};
}

Result<void> Floor::write_samples() const {
  std::FILE* file = std::fopen(options_.samples.c_str(), "w");
  if (file == nullptr) return system_error("open " + options_.samples);
  const auto us = [](int64_t from, int64_t to) { return static_cast<double>(to - from) / 1000; };
  for (const Sample& sample : samples_) {
    std::fprintf(file, "%ld %d %.1f %.1f %.1f %.1f %lu\n", sample.realtime_ns, sample.same_core, us(sample.begin_ns, sample.stopped_ns),
                 us(sample.stopped_ns, sample.scanned_ns), us(sample.scanned_ns, sample.copied_ns), us(sample.begin_ns, sample.released_ns), sample.dirty_pages);
  }
  std::fclose(file);
  return {};
}

Result<void> run(const Options& options) {
  const auto buffer = allocate_aligned(kCopyBytes);
  if (buffer == nullptr) return failure("no memory");
  std::memset(buffer.get(), 1, kCopyBytes);
  auto load = TRY(options.pid != 0 ? Load::join(options.pid) : Load::start(options));
  Floor floor(options, *load, buffer.get());
  if (options.first) {
    TRY(floor.run_first());
  } else {
    if (options.steps >= 2) TRY(floor.begin());
    if (options.pid != 0) {
      std::puts("begun");
      std::fflush(stdout);
    }
    TRY(floor.run_epochs());
  }
  std::puts(load->last_line().c_str());
  return floor.write_samples();
}

Options parse(int argc, char** argv) {
  Options options;
  static const option names[] = {
      {"period-us", 1, nullptr, 'p'}, {"samples", 1, nullptr, 's'}, {"directory", 1, nullptr, 'd'}, {"first", 0, nullptr, 'f'},
      {"pid", 1, nullptr, 'i'}, {"steps", 1, nullptr, 'n'}, {nullptr, 0, nullptr, 0}};
  for (int name; (name = getopt_long(argc, argv, "+", names, nullptr)) >= 0;) {
    if (name == 'p') options.period_us = std::atol(optarg);
    else if (name == 's') options.samples = optarg;
    else if (name == 'd') options.directory = optarg;
    else if (name == 'f') options.first = true;
    else if (name == 'i') options.pid = std::atoi(optarg);
    else if (name == 'n') options.steps = std::atoi(optarg);
    else std::exit(2);
  }
  options.load = argv + optind;
  const bool has_load = optind < argc && !options.directory.empty();
  if (has_load == (options.pid != 0) || options.samples.empty()) {
    std::fputs("usage: floor --period-us N --samples FILE --directory DIR [--first] -- LOAD ARGUMENTS\n"
               "       floor --period-us N --samples FILE --pid PID [--steps 1|2|3]\n", stderr);
    std::exit(2);
  }
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  if (auto done = run(parse(argc, argv)); !done) {
    std::fprintf(stderr, "floor: %s\n", done.error().message().c_str());
    return 1;
  }
  return 0;
}
