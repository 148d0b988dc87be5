#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <linux/prctl.h>

#include <algorithm>
#include <bit>

#include "base/bytes.h"
#include "linux/uapi.h"
#include "posix/vm_flags.h"
#include "restore/rebuild.h"

namespace perdure::restore {

namespace {

namespace vm = posix::vm_flags;
using posix::AddressSpace;
using posix::Mapping;

constexpr uint64_t kUserEnd = 0x7ffffffff000;
constexpr uint64_t kLowestStub = 0x100000;
constexpr uint64_t kStubSize = align_up(SyscallBatch::kStubBytes, kPageSize);
constexpr uint64_t kVdsoParkingSize = 64 * 1024;

struct Range {
  uint64_t start;
  uint64_t end;
};

/// The lowest gap of `size` bytes between the given ranges.
Result<uint64_t> find_gap(std::vector<Range> taken, uint64_t size) {
  std::ranges::sort(taken, {}, &Range::start);
  uint64_t candidate = kLowestStub;
  for (const Range& range : taken) {
    if (range.start >= candidate + size + kPageSize) break;
    candidate = std::max(candidate, align_up(range.end, kPageSize) + kPageSize);
  }
  if (candidate + size > kUserEnd) return failure("the address space has no gap left for the restore to work in");
  return candidate;
}

Result<std::vector<Range>> current_ranges(pid_t pid) {
  std::vector<Range> ranges;
  const std::string maps = TRY(read_file(fmt::format("/proc/{}/maps", pid)));
  for (size_t at = 0; at < maps.size(); at = maps.find('\n', at) + 1) {
    Range range{};
    if (sscanf(maps.c_str() + at, "%lx-%lx", &range.start, &range.end) == 2 && range.end <= kUserEnd + kPageSize) {
      ranges.push_back(range);
    }
  }
  return ranges;
}

bool is_special(const Mapping& mapping) { return mapping.special() != Mapping::kOrdinary; }

const char* special_name(Mapping::Special special) {
  switch (special) {
    case Mapping::kVdso: return "[vdso]";
    case Mapping::kVvar: return "[vvar]";
    case Mapping::kVvarClocks: return "[vvar_vclock]";
    default: return "";
  }
}

/// Moves vDSO and vvar to where the program's pointers expect them.
Result<void> move_vdso(BareProcess& process, const AddressSpace& wanted, SyscallBatch& batch, uint64_t parking) {
  const auto present = TRY(special_mappings(process.host_pid));
  uint64_t parked = parking;
  std::vector<std::pair<const SpecialMapping*, const Mapping*>> moves;
  for (const SpecialMapping& mapping : present) {
    const auto target = std::ranges::find_if(wanted.mappings(), [&](const Mapping& candidate) {
      return special_name(candidate.special()) == mapping.name;
    });
    const uint64_t size = mapping.end - mapping.start;
    if (target == wanted.mappings().end()) {
      batch.add("unmap " + mapping.name, SYS_munmap, {mapping.start, size});
      continue;
    }
    if (target->end() - target->start() != size) {
      return failure(fmt::format("{} of this kernel has another size than at the checkpoint: it cannot be restored under this kernel",
                                 mapping.name));
    }
    moves.emplace_back(&mapping, &*target);
  }
  // By way of a parking place, since old and new may overlap.
  for (const auto& [from, to] : moves) {
    const uint64_t size = from->end - from->start;
    batch.add("move " + from->name, SYS_mremap, {from->start, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, parked});
    parked += size;
  }
  parked = parking;
  for (const auto& [from, to] : moves) {
    const uint64_t size = from->end - from->start;
    batch.add("place " + from->name, SYS_mremap, {parked, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to->start()});
    parked += size;
    if (to->special() == Mapping::kVdso) process.vdso = to->start();
  }
  return {};
}

uint64_t protection_of(const Mapping& mapping) {
  return (mapping.flags() & vm::kRead ? PROT_READ : 0) | (mapping.flags() & vm::kWrite ? PROT_WRITE : 0) |
         (mapping.flags() & vm::kExecute ? PROT_EXEC : 0);
}

uint64_t map_flags_of(const Mapping& mapping) {
  uint64_t flags = MAP_FIXED_NOREPLACE;
  constexpr uint64_t kMapDroppable = 0x08;  // MAP_DROPPABLE of Linux 6.11
  if (mapping.flags() & vm::kDroppable) flags |= kMapDroppable;
  else flags |= mapping.flags() & vm::kMayShare ? MAP_SHARED : MAP_PRIVATE;
  if (mapping.inode() == 0) flags |= MAP_ANONYMOUS;
  if (mapping.flags() & vm::kGrowsDown) flags |= MAP_GROWSDOWN;
  if (mapping.flags() & vm::kNoReserve) flags |= MAP_NORESERVE;
  if (mapping.flags() & vm::kHugePageTable) flags |= MAP_HUGETLB;
  return flags;
}

/// System V shared memory is attached, not mapped: only so do shmdt(2) and the count of attachments know of it.
void add_attachment(SyscallBatch& batch, const Mapping& mapping, int id) {
  const bool writable = (mapping.flags() & vm::kMayWrite) != 0;
  const uint64_t flags = (writable ? 0 : SHM_RDONLY) | (mapping.flags() & vm::kExecute ? SHM_EXEC : 0);
  batch.add("attach System V shared memory", SYS_shmat, {static_cast<uint64_t>(id), mapping.start(), flags});
  batch.add("protect System V shared memory", SYS_mprotect, {mapping.start(), mapping.end() - mapping.start(), protection_of(mapping)});
}

void add_advice(SyscallBatch& batch, const Mapping& mapping) {
  struct Advice {
    uint64_t flag;
    int advice;
  };
  static constexpr std::array<Advice, 8> kAdvice{{{vm::kSequentialRead, MADV_SEQUENTIAL},
                                                  {vm::kRandomRead, MADV_RANDOM},
                                                  {vm::kDontCopy, MADV_DONTFORK},
                                                  {vm::kDontDump, MADV_DONTDUMP},
                                                  {vm::kWipeOnFork, MADV_WIPEONFORK},
                                                  {vm::kHugePage, MADV_HUGEPAGE},
                                                  {vm::kNoHugePage, MADV_NOHUGEPAGE},
                                                  {vm::kMergeable, MADV_MERGEABLE}}};
  const uint64_t size = mapping.end() - mapping.start();
  for (const Advice& advice : kAdvice) {
    if (mapping.flags() & advice.flag) {
      batch.add_tolerant(SYS_madvise, {mapping.start(), size, static_cast<uint64_t>(advice.advice)});
    }
  }
  if (!mapping.name().empty()) {
    batch.add_tolerant(SYS_prctl, {PR_SET_VMA, PR_SET_VMA_ANON_NAME, mapping.start(), size, batch.add_string(mapping.name())});
  }
}

/// Opens, once each, the files behind the mappings, and delivers them to the task; returns inode and access -> descriptor there.
using MappedFiles = std::map<std::pair<uint64_t, bool>, int>;
bool wants_writing(const Mapping& mapping) {
  return (mapping.flags() & vm::kMayShare) != 0 && (mapping.flags() & vm::kMayWrite) != 0;
}
Result<MappedFiles> deliver_mapped_files(BareProcess& process, const AddressSpace& wanted, posix::RestoreContext& context) {
  MappedFiles numbers;
  std::vector<Fd> files;
  std::vector<int> borrowed;
  const auto need = [&](uint64_t inode, bool writing) -> Result<void> {
    if (inode == 0 || numbers.contains({inode, writing})) return {};
    files.push_back(TRY(context.open_inode(inode, writing ? O_RDWR : O_RDONLY)));
    borrowed.push_back(files.back().get());
    numbers[{inode, writing}] = static_cast<int>(numbers.size());
    return {};
  };
  TRY(need(wanted.executable(), false));
  for (const Mapping& mapping : wanted.mappings()) {
    if (!is_special(mapping)) TRY(need(mapping.inode(), wants_writing(mapping)));
  }
  TRY(deliver_descriptors(process, context, borrowed));
  return numbers;
}

Result<void> add_mm_fields(SyscallBatch& batch, const AddressSpace& wanted, const MappedFiles& files) {
  prctl_mm_map map{};
  map.start_code = wanted.start_code();
  map.end_code = wanted.end_code();
  map.start_data = wanted.start_data();
  map.end_data = wanted.end_data();
  map.start_brk = wanted.start_brk();
  map.brk = wanted.brk();
  map.start_stack = wanted.start_stack();
  map.arg_start = wanted.arg_start();
  map.arg_end = wanted.arg_end();
  map.env_start = wanted.env_start();
  map.env_end = wanted.env_end();
  map.auxv = reinterpret_cast<__u64*>(batch.add_data(std::as_bytes(std::span(wanted.auxv()))));
  map.auxv_size = static_cast<__u32>(wanted.auxv().size());
  const auto executable = files.find({wanted.executable(), false});
  map.exe_fd = executable == files.end() ? ~0u : static_cast<__u32>(executable->second);
  batch.add("set the fields of the address space", SYS_prctl,
            {PR_SET_MM, PR_SET_MM_MAP, batch.add_value(map), sizeof map, 0});
  return {};
}

Result<void> add_guards(BareProcess& process, SyscallBatch& batch, const AddressSpace& wanted) {
  for (int i = 0; i + 1 < wanted.guard_ranges_size(); i += 2) {
    const uint64_t start = wanted.guard_ranges(i);
    batch.add("install guard pages", SYS_madvise, {start, wanted.guard_ranges(i + 1) - start, linux_uapi::kMadviseGuardInstall});
    if (batch.nearly_full()) TRY(batch.run(process.leader, process.memory.get()));
  }
  return {};
}

/// pkey_alloc(2) gives the lowest free key: all up to the highest are taken, and those that were not allocated given back.
void add_protection_keys(SyscallBatch& batch, const AddressSpace& wanted) {
  const unsigned keys = wanted.protection_keys() & ~1u;  // key 0 is always there
  if (keys == 0) return;
  const auto highest = static_cast<unsigned>(std::bit_width(keys)) - 1;
  for (unsigned key = 1; key <= highest; ++key) batch.add("allocate a protection key", SYS_pkey_alloc, {0, 0});
  for (const Mapping& mapping : wanted.mappings()) {
    const uint64_t key = (mapping.flags() & vm::kProtectionKeyMask) >> vm::kProtectionKeyShift;
    if (key == 0 || is_special(mapping)) continue;
    batch.add("give pages a protection key", SYS_pkey_mprotect, {mapping.start(), mapping.end() - mapping.start(), protection_of(mapping), key});
  }
  for (unsigned key = 1; key <= highest; ++key) {
    if ((keys & 1u << key) == 0) batch.add("free a protection key", SYS_pkey_free, {key});
  }
}

}  // namespace

Result<void> clear_address_space(BareProcess& process, const AddressSpace& wanted, uint64_t vdso_syscall_offset) {
  std::vector<Range> taken = TRY(current_ranges(process.host_pid));
  const std::vector<Range> present = taken;
  for (const Mapping& mapping : wanted.mappings()) taken.push_back({mapping.start(), mapping.end()});
  const uint64_t stub = TRY(find_gap(taken, kStubSize + kVdsoParkingSize));
  {
    auto remote = TRY(RemoteSyscalls::begin(process.leader, process.vdso + vdso_syscall_offset));
    TRY(remote.checked("map the stub", SYS_mmap,
                       {stub, kStubSize, PROT_READ | PROT_WRITE | PROT_EXEC,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, ~0ull, 0}));
  }
  TRY(SyscallBatch::install(process.memory.get(), stub));
  process.stub = stub;
  SyscallBatch batch(stub);
  const auto special = TRY(special_mappings(process.host_pid));
  for (const Range& range : present) {
    const bool keep = std::ranges::any_of(special, [&](const auto& mapping) { return mapping.start == range.start; });
    if (!keep) batch.add("unmap", SYS_munmap, {range.start, range.end - range.start});
  }
  TRY(move_vdso(process, wanted, batch, stub + kStubSize));
  TRY(batch.run(process.leader, process.memory.get()));
  return {};
}

Result<void> map_address_space(BareProcess& process, posix::RestoreContext& context) {
  const AddressSpace& wanted = *TRY(context.tree.address_space(process.record->address_space()));
  const MappedFiles files = TRY(deliver_mapped_files(process, wanted, context));
  SyscallBatch batch(process.stub);
  for (const Mapping& mapping : wanted.mappings()) {
    if (is_special(mapping)) continue;
    const int file = mapping.inode() == 0 ? -1 : files.at({mapping.inode(), wants_writing(mapping)});
    const posix::Inode* inode = mapping.inode() == 0 ? nullptr : TRY(context.tree.inode(mapping.inode()));
    if (inode != nullptr && inode->kind() == posix::Inode::kSystemVMemory) {
      add_attachment(batch, mapping, inode->system_v_id());
    } else {
      batch.add("map", SYS_mmap,
                {mapping.start(), mapping.end() - mapping.start(), protection_of(mapping), map_flags_of(mapping),
                 static_cast<uint64_t>(static_cast<int64_t>(file)), mapping.offset()});
    }
    add_advice(batch, mapping);
    if (batch.nearly_full()) TRY(batch.run(process.leader, process.memory.get()));
  }
  TRY(add_mm_fields(batch, wanted, files));
  if (!files.empty()) batch.add("close mapped files", SYS_close_range, {0, files.size() - 1, 0});
  TRY(batch.run(process.leader, process.memory.get()));
  return {};
}

Result<void> finish_address_space(BareProcess& process, posix::RestoreContext& context) {
  const AddressSpace& wanted = *TRY(context.tree.address_space(process.record->address_space()));
  SyscallBatch batch(process.stub);
  for (const Mapping& mapping : wanted.mappings()) {
    if (!(mapping.flags() & vm::kLocked)) continue;
    const uint64_t on_fault = mapping.flags() & vm::kLockOnFault ? MLOCK_ONFAULT : 0;
    batch.add_tolerant(SYS_mlock2, {mapping.start(), mapping.end() - mapping.start(), on_fault});
    if (batch.nearly_full()) TRY(batch.run(process.leader, process.memory.get()));
  }
  TRY(add_guards(process, batch, wanted));
  add_protection_keys(batch, wanted);
  if (wanted.lock_future()) {
    batch.add("lock future mappings", SYS_mlockall, {MCL_FUTURE | (wanted.lock_future_on_fault() ? uint64_t{MCL_ONFAULT} : 0)});
  }
  // Last: nothing of a sealed mapping can be changed any more.
  for (const Mapping& mapping : wanted.mappings()) {
    if (is_special(mapping) || !(mapping.flags() & vm::kSealed)) continue;
    batch.add("seal", linux_uapi::kSysMseal, {mapping.start(), mapping.end() - mapping.start(), 0});
    if (batch.nearly_full()) TRY(batch.run(process.leader, process.memory.get()));
  }
  TRY(batch.run(process.leader, process.memory.get()));
  return {};
}

}  // namespace perdure::restore
