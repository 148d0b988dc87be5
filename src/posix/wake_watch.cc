#include "posix/wake_watch.h"

#include <bpf/libbpf.h>

#include "posix/wake.skel.h"

namespace perdure::posix {

namespace {

struct WakeDeleter {
  void operator()(::wake* skeleton) const { wake__destroy(skeleton); }
};
struct RingDeleter {
  void operator()(ring_buffer* ring) const { ring_buffer__free(ring); }
};

int take(void*, void*, size_t) { return 0; }

}  // namespace

struct WakeWatch::Program {
  std::unique_ptr<::wake, WakeDeleter> skeleton;
  std::unique_ptr<ring_buffer, RingDeleter> ring;
  bool attached = false;
};

WakeWatch::WakeWatch(std::unique_ptr<Program> program) : program_(std::move(program)) {}
WakeWatch::WakeWatch(WakeWatch&&) noexcept = default;
WakeWatch& WakeWatch::operator=(WakeWatch&&) noexcept = default;
WakeWatch::~WakeWatch() = default;

Result<WakeWatch> WakeWatch::create() {
  auto program = std::make_unique<Program>();
  program->skeleton.reset(wake__open_and_load());
  if (!program->skeleton) return system_error("load the BPF program that watches for waking tasks (see perdure doctor)");
  program->ring.reset(ring_buffer__new(bpf_map__fd(program->skeleton->maps.wakes), take, nullptr, nullptr));
  if (!program->ring) return system_error("map the ring buffer of waking tasks");
  return WakeWatch(std::move(program));
}

Result<WakeWatch> WakeWatch::of_pid_namespace(uint32_t inode) {
  WakeWatch watch = TRY(create());
  watch.program_->skeleton->bss->watched_namespace = inode;
  return watch;
}

Result<WakeWatch> WakeWatch::of_cgroup(uint64_t id, uint32_t level) {
  WakeWatch watch = TRY(create());
  watch.program_->skeleton->bss->watched_cgroup = id;
  watch.program_->skeleton->bss->watched_cgroup_level = level;
  return watch;
}

Result<void> WakeWatch::arm() {
  ring_buffer__consume(program_->ring.get());
  program_->skeleton->bss->armed = 1;
  if (program_->attached) return {};
  if (wake__attach(program_->skeleton.get()) != 0) return system_error("attach to the scheduler's tracepoints");
  program_->attached = true;
  return {};
}

void WakeWatch::disarm() {
  program_->skeleton->bss->armed = 0;
  if (program_->attached) wake__detach(program_->skeleton.get());
  program_->attached = false;
}

int WakeWatch::fd() const { return ring_buffer__epoll_fd(program_->ring.get()); }

}  // namespace perdure::posix
