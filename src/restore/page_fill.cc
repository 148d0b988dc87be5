// The contents of private memory.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>

#include "base/bytes.h"
#include "linux/remote_userfaultfd.h"
#include "linux/userfaultfd.h"
#include "posix/vm_flags.h"
#include "restore/rebuild.h"

namespace perdure::restore {

namespace {

namespace vm = posix::vm_flags;
using posix::Mapping;

struct PageRange {
  uint64_t start;  ///< addresses
  uint64_t end;
};

/// Huge pages come of faults.
bool can_be_put(const Mapping& mapping) {
  return mapping.special() == Mapping::kOrdinary && mapping.inode() == 0 && (mapping.flags() & (vm::kMayShare | vm::kHugePage | vm::kHugePageTable)) == 0;
}

/// What the kernel does not say of a change to memory (here: MADV_WIPEONFORK at a fork) must not matter.
bool can_be_lazy(const Mapping& mapping) { return can_be_put(mapping) && (mapping.flags() & (vm::kLocked | vm::kWipeOnFork)) == 0; }

/// A bare process whose pages are being filled in.
class FilledSpace {
 public:
  static Result<FilledSpace> open(BareProcess& process, const posix::AddressSpace& wanted, uint64_t vdso_syscall_offset) {
    FilledSpace space(process.memory.get());
    space.userfaultfd_ = TRY(open_remote_userfaultfd(process.leader, process.host_pid, process.vdso, process.vdso + vdso_syscall_offset));
    TRY(enable_filling(space.userfaultfd_.get()));
    for (const Mapping& mapping : wanted.mappings()) {
      if (!can_be_put(mapping)) continue;
      TRY(register_missing(space.userfaultfd_.get(), mapping.start(), mapping.end()));
      space.anonymous_.push_back({mapping.start(), mapping.end()});
    }
    std::ranges::sort(space.anonymous_, {}, &PageRange::start);
    return space;
  }

  Result<void> fill(const store::View::Extent& extent) const {
    uint64_t at = extent.first * kPageSize;
    const uint64_t end = at + extent.count * kPageSize;
    const std::byte* from = extent.bytes;
    for (auto range = std::ranges::upper_bound(anonymous_, at, {}, &PageRange::end); at < end; ++range) {
      const bool last = range == anonymous_.end();
      const uint64_t before = last ? end : std::clamp(range->start, at, end);
      TRY(write_memory(memory_, at, std::span(from, before - at)));
      const uint64_t after = last ? end : std::clamp(range->end, before, end);
      TRY(put(before, std::span(from + (before - at), after - before)));
      from += after - at;
      at = after;
    }
    return {};
  }

 private:
  explicit FilledSpace(int memory) : memory_(memory) {}

  Result<void> put(uint64_t address, std::span<const std::byte> contents) const {
    while (!contents.empty()) {
      const uint64_t done = TRY(put_page_contents(userfaultfd_.get(), address, contents));
      const size_t there_already = done < contents.size() ? kPageSize : 0;
      TRY(write_memory(memory_, address + done, contents.subspan(done, there_already)));
      address += done + there_already;
      contents = contents.subspan(done + there_already);
    }
    return {};
  }

  Fd userfaultfd_;
  int memory_;  ///< /proc/PID/mem, which reaches all private memory, whatever its protection
  std::vector<PageRange> anonymous_;
};

Result<void> add_lazy(BareProcess& process, const posix::AddressSpace& wanted, uint64_t vdso_syscall_offset, memory::LazyFill& lazy) {
  Fd userfaultfd = TRY(open_remote_userfaultfd(process.leader, process.host_pid, process.vdso, process.vdso + vdso_syscall_offset, FaultsOf::everybody));
  TRY(enable_lazy_filling(userfaultfd.get()));
  std::vector<memory::LazyFill::Range> ranges;
  for (const Mapping& mapping : wanted.mappings()) {
    if (can_be_lazy(mapping)) ranges.push_back({mapping.start(), mapping.end()});
  }
  std::ranges::sort(ranges, {}, &memory::LazyFill::Range::start);
  return lazy.add(process.record->address_space(), std::move(userfaultfd), ranges);
}

Result<void> fill_mapping(const BareProcess& process, const Mapping& mapping, posix::RestoreContext& context) {
  constexpr uint64_t kChunkPages = 256;
  const store::SpaceId space = process.record->address_space();
  const AlignedBytes buffer = allocate_aligned(kChunkPages * kPageSize);
  if (buffer == nullptr) return failure("out of memory");
  for (const auto& run : context.view.runs(space, mapping.start() / kPageSize, (mapping.end() - mapping.start()) / kPageSize)) {
    for (uint64_t page = run.first; page < run.first + run.count; page += kChunkPages) {
      const uint64_t count = std::min(kChunkPages, run.first + run.count - page);
      if (auto read = context.view.read(space, page, count, buffer.get()); !read) {
        context.damage = read.error();
        return read;
      }
      TRY(write_memory(process.memory.get(), page * kPageSize, std::span(buffer.get(), count * kPageSize)));
    }
  }
  return {};
}

Result<void> begin_lazy(const std::map<int, std::unique_ptr<BareProcess>>& processes, posix::RestoreContext& context, uint64_t vdso_syscall_offset,
                        memory::LazyFill& lazy) {
  for (const auto& [pid, process] : processes) {
    if (process->record->zombie()) continue;
    const auto& wanted = *TRY(context.tree.address_space(process->record->address_space()));
    TRY(add_lazy(*process, wanted, vdso_syscall_offset, lazy));
    for (const Mapping& mapping : wanted.mappings()) {
      if (!can_be_lazy(mapping)) TRY(fill_mapping(*process, mapping, context));
    }
  }
  return lazy.begin(context.init.init_pid());
}

}  // namespace

Result<void> fill_private_pages(const std::map<int, std::unique_ptr<BareProcess>>& processes, posix::RestoreContext& context, uint64_t vdso_syscall_offset,
                                memory::LazyFill* lazy) {
  if (lazy != nullptr) return begin_lazy(processes, context, vdso_syscall_offset, *lazy);
  std::map<store::SpaceId, FilledSpace> filled;
  std::vector<store::SpaceId> spaces;
  for (const auto& [pid, process] : processes) {
    if (process->record->zombie()) continue;
    const store::SpaceId space = process->record->address_space();
    spaces.push_back(space);
    filled.emplace(space, TRY(FilledSpace::open(*process, *TRY(context.tree.address_space(space)), vdso_syscall_offset)));
  }
  std::atomic<bool> refused{false};
  auto read = context.view.read_all(spaces, [&](std::span<const store::View::Extent> extents) -> Result<void> {
    for (const auto& extent : extents) {
      auto done = filled.at(extent.space).fill(extent);
      if (done) continue;
      refused = true;
      return done;
    }
    return {};
  });
  if (!read && !refused) context.damage = read.error();
  return read;
}

}  // namespace perdure::restore
