#include "linux/bpf.h"

#include <bpf/bpf.h>
#include <sys/mman.h>

#include <utility>

namespace perdure {

Result<void> run_bpf_program(int program, std::span<std::byte> context) {
  LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = context.data(), .ctx_size_in = static_cast<uint32_t>(context.size()));
  if (bpf_prog_test_run_opts(program, &options) < 0) return system_error("cannot run a BPF program");
  return {};
}

Result<BpfMemory> BpfMemory::map(int bpf_map, size_t size) {
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED | MAP_POPULATE, bpf_map, 0);
  if (address == MAP_FAILED) return system_error("cannot map a BPF array");
  return BpfMemory(static_cast<const std::byte*>(address), size);
}

BpfMemory::BpfMemory(BpfMemory&& other) noexcept
    : address_(std::exchange(other.address_, nullptr)), size_(std::exchange(other.size_, 0)) {}

BpfMemory& BpfMemory::operator=(BpfMemory&& other) noexcept {
  std::swap(address_, other.address_);
  std::swap(size_, other.size_);
  return *this;
}

BpfMemory::~BpfMemory() {
  if (address_ != nullptr) ::munmap(const_cast<std::byte*>(address_), size_);
}

}  // namespace perdure
