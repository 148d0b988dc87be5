// BPF programs that are run on demand (BPF_PROG_RUN), and the memory that they share with us.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"

namespace perdure {

/// Runs a program of type BPF_PROG_TYPE_SYSCALL once, in the calling thread. It may read and write `context`.
Result<void> run_bpf_program(int program, std::span<std::byte> context);

/// A mapping of a BPF array that was made with BPF_F_MMAPABLE. Move only.
class BpfMemory {
 public:
  BpfMemory() = default;
  static Result<BpfMemory> map(int bpf_map, size_t size);
  BpfMemory(BpfMemory&& other) noexcept;
  BpfMemory& operator=(BpfMemory&& other) noexcept;
  ~BpfMemory();

  std::span<const std::byte> bytes() const { return {address_, size_}; }

 private:
  BpfMemory(const std::byte* address, size_t size) : address_(address), size_(size) {}
  const std::byte* address_ = nullptr;
  size_t size_ = 0;
};

}  // namespace perdure
