#include "linux/bpf_types.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <linux/bpf.h>
#include <linux/btf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace perdure {

namespace {

struct Free {
  void operator()(btf* types) const { btf__free(types); }
  void operator()(btf_ext* extra) const { btf_ext__free(extra); }
};
using Types = std::unique_ptr<btf, Free>;

/// What stands at the head of .BTF.ext (Documentation/bpf/btf.rst), as far as the place of the relocations.
struct ExtraHeader {
  uint16_t magic;
  uint8_t version, flags;
  uint32_t header_bytes;
  uint32_t function_offset, function_bytes, line_offset, line_bytes, relocation_offset, relocation_bytes;
};
struct RelocatedSection {
  uint32_t name, count;
};
struct Relocation {
  uint32_t instruction, type, access, kind;
};

Result<Fd> file_in_memory(const char* name, std::span<const std::byte> contents) {
  Fd file(::memfd_create(name, MFD_CLOEXEC));
  if (!file || ::write(file.get(), contents.data(), contents.size()) != static_cast<ssize_t>(contents.size())) return system_error("memfd_create");
  return file;
}

std::string path_of(const Fd& file) { return fmt::format("/proc/self/fd/{}", file.get()); }

template <typename Value>
bool take(std::span<const std::byte>& bytes, Value& value) {
  if (bytes.size() < sizeof(value)) return false;
  std::memcpy(&value, bytes.data(), sizeof(value));
  bytes = bytes.subspan(sizeof(value));
  return true;
}

/// The types that relocations refer to; none when they are not as they should be.
std::set<uint32_t> relocated_types(const btf_ext* extra) {
  uint32_t size = 0;
  const auto* const data = static_cast<const std::byte*>(btf_ext__get_raw_data(extra, &size));
  const std::span all(data, size);
  ExtraHeader header{};
  uint32_t record_bytes = 0;
  if (auto bytes = all; !take(bytes, header)) return {};
  const uint64_t start = uint64_t{header.header_bytes} + header.relocation_offset;
  if (start + header.relocation_bytes > size) return {};
  auto bytes = all.subspan(start, header.relocation_bytes);
  if (!take(bytes, record_bytes) || record_bytes != sizeof(Relocation)) return {};
  std::set<uint32_t> types;
  for (RelocatedSection section{}; take(bytes, section);) {
    for (Relocation one{}; section.count > 0 && take(bytes, one); --section.count) types.insert(one.type);
  }
  return types;
}

/// A kind and a name; without what follows "___" in the name, as libbpf compares them.
using TypeName = std::pair<uint16_t, std::string_view>;
TypeName name_of(const btf* types, uint32_t id) {
  const btf_type* const type = btf__type_by_id(types, id);
  const std::string_view name = btf__name_by_offset(types, type->name_off);
  return {btf_kind(type), name.substr(0, name.find("___"))};
}

/// Copies types together with what they consist of. What a pointer points to is left behind: no relocation goes there.
class Selection {
 public:
  explicit Selection(const btf* source) : source_(source), types_(btf__new_empty()) {}

  /// The number of a copy of the type; negative on error.
  int copy(uint32_t id) {
    if (id == 0) return 0;
    if (const auto known = copies_.find(id); known != copies_.end()) return known->second;
    const btf_type* const original = btf__type_by_id(source_, id);
    const bool leads_on = btf_is_mod(original) || btf_is_typedef(original);
    const int target = leads_on ? copy(original->type) : 0;
    std::vector<int> parts;
    if (btf_is_composite(original)) {
      for (const btf_member& member : std::span(btf_members(original), btf_vlen(original))) parts.push_back(copy(member.type));
    } else if (btf_is_array(original)) {
      parts = {copy(btf_array(original)->type), copy(btf_array(original)->index_type)};
    }
    const int number = btf__add_type(types_.get(), source_, original);
    if (number < 0 || target < 0) return -1;
    auto* const made = const_cast<btf_type*>(btf__type_by_id(types_.get(), static_cast<uint32_t>(number)));
    if (leads_on || btf_is_ptr(made)) made->type = static_cast<uint32_t>(target);
    for (size_t i = 0; i < parts.size(); ++i) {
      if (parts[i] < 0) return -1;
      auto& place = btf_is_composite(made) ? btf_members(made)[i].type : i == 0 ? btf_array(made)->type : btf_array(made)->index_type;
      place = static_cast<uint32_t>(parts[i]);
    }
    copies_.emplace(id, number);
    return number;
  }

  Result<Fd> file() const {
    uint32_t size = 0;
    const auto* const data = static_cast<const std::byte*>(btf__raw_data(types_.get(), &size));
    if (data == nullptr) return system_error("cannot copy the types of the kernel");
    return file_in_memory("kernel-types", std::span(data, size));
  }

 private:
  const btf* source_;
  Types types_;
  std::map<uint32_t, int> copies_;
};

bool modules_have_types() {
  std::error_code none;
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/sys/kernel/btf", none)) files += entry.path().filename() != "vmlinux";
  return files > 0;
}

}  // namespace

Result<KernelTypes> KernelTypes::named_in(std::span<const std::byte> object) {
  const Fd elf = TRY(file_in_memory("bpf-object", object));
  btf_ext* extra = nullptr;
  const Types own(btf__parse_elf(path_of(elf).c_str(), &extra));
  const std::unique_ptr<btf_ext, Free> owned(extra);
  if (!own || extra == nullptr) return system_error("cannot read the types of a BPF object");
  const Types kernel(btf__load_vmlinux_btf());
  if (!kernel) return system_error("cannot read /sys/kernel/btf/vmlinux");

  std::map<TypeName, bool> wanted;
  for (const uint32_t id : relocated_types(extra)) wanted.emplace(name_of(own.get(), id), false);
  if (wanted.empty()) return KernelTypes();
  KernelTypes found;
  Selection selection(kernel.get());
  for (uint32_t id = 1; id < btf__type_cnt(kernel.get()); ++id) {
    const auto type = wanted.find(name_of(kernel.get(), id));
    if (type == wanted.end()) continue;
    type->second = true;
    const int copy = selection.copy(id);
    if (copy < 0) return system_error("cannot copy a type of the kernel");
    found.kernel_numbers_.emplace(copy, id);
  }
  const bool all = std::ranges::all_of(wanted, [](const auto& type) { return type.second; });
  if (!all && modules_have_types()) return KernelTypes();
  found.file_ = TRY(selection.file());
  found.path_ = path_of(found.file_);
  return found;
}

namespace {

/// The compiler loads a type's number, and no other that is small, as a constant of 64 bits.
int renumber(bpf_program* program, bpf_prog_load_opts* options, long cookie) {
  options->prog_flags |= BPF_F_SLEEPABLE;  // as libbpf's own handler of "syscall"
  const auto& kernel_numbers = *reinterpret_cast<const std::map<uint32_t, uint32_t>*>(cookie);
  const std::span before(bpf_program__insns(program), bpf_program__insn_cnt(program));
  std::vector<bpf_insn> instructions(before.begin(), before.end());
  for (size_t i = 0; i + 1 < instructions.size(); ++i) {
    bpf_insn& one = instructions[i];
    if (one.code != (BPF_LD | BPF_DW | BPF_IMM)) continue;
    const bool is_plain = one.src_reg == 0 && instructions[++i].imm == 0;
    const auto number = kernel_numbers.find(static_cast<uint32_t>(one.imm));
    if (is_plain && number != kernel_numbers.end()) one.imm = static_cast<int32_t>(number->second);
  }
  return bpf_program__set_insns(program, instructions.data(), instructions.size());
}

}  // namespace

KernelTypes::Renumbering::Renumbering(const KernelTypes& types) : types_(types) {
  if (!types.file_) return;
  LIBBPF_OPTS(libbpf_prog_handler_opts, options);
  // libbpf 1.1 frees its list of handlers twice when the last is taken from it: this one stays.
  libbpf_register_prog_handler("perdure", BPF_PROG_TYPE_SYSCALL, static_cast<bpf_attach_type>(0), &options);
  options.cookie = reinterpret_cast<long>(&types.kernel_numbers_);
  options.prog_prepare_load_fn = renumber;
  handler_ = libbpf_register_prog_handler("syscall", BPF_PROG_TYPE_SYSCALL, static_cast<bpf_attach_type>(0), &options);
}

KernelTypes::Renumbering::~Renumbering() {
  if (handler_ >= 0) libbpf_unregister_prog_handler(handler_);
}

}  // namespace perdure
