#include "posix/extended_state.h"

#include <cpuid.h>
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace perdure::posix {

namespace {

constexpr uint64_t kX87 = 1 << 0;
constexpr uint64_t kSse = 1 << 1;
constexpr uint64_t kYmm = 1 << 2;
constexpr unsigned kPkruComponent = 9;
constexpr unsigned kComponentCount = 63;
constexpr uint64_t kCompacted = 1ull << 63;
constexpr size_t kHeaderOffset = 512;
constexpr size_t kExtendedOffset = 576;
// Offsets in the legacy (FXSAVE) part.
constexpr size_t kMxcsrOffset = 24;
constexpr size_t kX87StackOffset = 32;
constexpr size_t kXmmOffset = 160;
constexpr size_t kSoftwareReservedOffset = 464;
constexpr uint16_t kInitialControlWord = 0x37f;
constexpr uint32_t kInitialMxcsr = 0x1f80;

struct Component {
  size_t size;
  size_t standard_offset;
  bool aligned;  ///< to 64 bytes in the compacted format
};

using Components = std::array<Component, kComponentCount>;

/// Components that the processor has, those of the kernel alone included.
uint64_t existing_components() {
  unsigned user_low = 0, user_high = 0, kernel_low = 0, kernel_high = 0, ignored = 0;
  __get_cpuid_count(0xd, 0, &user_low, &ignored, &ignored, &user_high);
  __get_cpuid_count(0xd, 1, &ignored, &ignored, &kernel_low, &kernel_high);
  return user_low | kernel_low | static_cast<uint64_t>(user_high | kernel_high) << 32;
}

Components read_components() {
  Components components{};
  const uint64_t existing = existing_components();
  for (unsigned number = 2; number < kComponentCount; ++number) {
    if ((existing >> number & 1) == 0) continue;
    unsigned size = 0, offset = 0, flags = 0, reserved = 0;
    __get_cpuid_count(0xd, number, &size, &offset, &flags, &reserved);
    components[number] = {size, offset, (flags & 2) != 0};
  }
  return components;
}

/// The processor's own constants: asked for once, since CPUID traps in a virtual machine.
const Component& component(unsigned number) {
  static const Components components = read_components();
  return components[number];
}

struct Header {
  uint64_t features;
  uint64_t compaction;
};

size_t standard_size(uint64_t features) {
  size_t size = kExtendedOffset;
  for (unsigned number = 2; number < kComponentCount; ++number) {
    if ((features >> number & 1) == 0) continue;
    const Component& part = component(number);
    size = std::max(size, part.standard_offset + part.size);
  }
  return size;
}

void copy_legacy(std::span<const std::byte> from, uint64_t present, std::span<std::byte> to) {
  std::memcpy(&to[0], &kInitialControlWord, sizeof(kInitialControlWord));
  std::memcpy(&to[kMxcsrOffset], &kInitialMxcsr, sizeof(kInitialMxcsr));
  // The mask of valid MXCSR bits is the processor's, whatever the components.
  std::memcpy(&to[kMxcsrOffset + 4], &from[kMxcsrOffset + 4], 4);
  if (present & kX87) {
    std::memcpy(&to[0], &from[0], kMxcsrOffset);
    std::memcpy(&to[kX87StackOffset], &from[kX87StackOffset], kXmmOffset - kX87StackOffset);
  }
  if (present & (kSse | kYmm)) std::memcpy(&to[kMxcsrOffset], &from[kMxcsrOffset], 4);
  if (present & kSse) std::memcpy(&to[kXmmOffset], &from[kXmmOffset], 256);
}

/// Copies the components behind the header, each found where the compaction word puts it.
Result<void> copy_extended(std::span<const std::byte> from, const Header& header, uint64_t present, std::span<std::byte> to) {
  const bool compacted = (header.compaction & kCompacted) != 0;
  size_t at = kExtendedOffset;
  for (unsigned number = 2; number < kComponentCount; ++number) {
    const uint64_t bit = 1ull << number;
    if (((compacted ? header.compaction : present) & bit) == 0) continue;
    const Component& part = component(number);
    if (compacted && part.aligned) at = (at + 63) & ~size_t{63};
    const size_t source = compacted ? at : part.standard_offset;
    at += part.size;
    if ((present & bit) == 0) continue;
    if (source + part.size > from.size() || part.standard_offset + part.size > to.size())
      return failure(fmt::format("XSAVE component {} lies outside the area", number));
    std::memcpy(&to[part.standard_offset], &from[source], part.size);
  }
  return {};
}

}  // namespace

Result<std::vector<std::byte>> standard_extended_state(std::span<const std::byte> state, uint64_t user_features, uint32_t pkru) {
  if (state.size() < kExtendedOffset) return failure("XSAVE area is too small");
  Header header{};
  std::memcpy(&header, &state[kHeaderOffset], sizeof(header));
  constexpr uint64_t kPkru = 1ull << kPkruComponent;
  const uint64_t present = header.features & user_features & ~kPkru;

  std::vector<std::byte> standard(standard_size(user_features));
  copy_legacy(state, present, standard);
  std::memcpy(&standard[kSoftwareReservedOffset], &user_features, sizeof(user_features));
  TRY(copy_extended(state, header, present, standard));
  uint64_t described = present;
  if (user_features & kPkru) {
    described |= kPkru;
    std::memcpy(&standard[component(kPkruComponent).standard_offset], &pkru, sizeof(pkru));
  }
  std::memcpy(&standard[kHeaderOffset], &described, sizeof(described));
  return standard;
}

}  // namespace perdure::posix
