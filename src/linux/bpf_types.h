// The types of the kernel that BPF programs name, cut out of all that it has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace perdure {

/// What libbpf needs to fit a compiled BPF object to this kernel, in little: it looks at each type that the kernel has, 150 000, once for each that an
/// object names, which takes 0.15 s.
class KernelTypes {
 public:
  /// Looks in /sys/kernel/btf/vmlinux for the types to which the relocations of an object (an ELF file) refer. Errors of reading.
  static Result<KernelTypes> named_in(std::span<const std::byte> object);

  /// While it lives, the numbers of types in programs of SEC("syscall") that are loaded become those that the kernel knows the types by: relocated
  /// against the file they are its own. One at a time in a process; must not outlive the KernelTypes.
  class Renumbering {
   public:
    explicit Renumbering(const KernelTypes& types);
    Renumbering(const Renumbering&) = delete;
    Renumbering& operator=(const Renumbering&) = delete;
    ~Renumbering();

    /// For bpf_object_open_opts::btf_custom_path. nullptr where types may lie in a module, or nothing is renumbered: libbpf is to look by itself.
    const char* path() const { return handler_ >= 0 ? types_.path_.c_str() : nullptr; }

   private:
    const KernelTypes& types_;
    int handler_ = -1;
  };

 private:
  Fd file_;
  std::string path_;
  std::map<uint32_t, uint32_t> kernel_numbers_;  ///< by number in the file
};

}  // namespace perdure
