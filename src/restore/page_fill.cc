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

}  // namespace

Result<void> fill_private_pages(const std::map<int, std::unique_ptr<BareProcess>>& processes, posix::RestoreContext& context, uint64_t vdso_syscall_offset) {
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
