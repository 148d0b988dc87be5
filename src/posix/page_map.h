// Where the kernel keeps page structures and page contents, found by means of a page of our own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/result.h"

namespace perdure::posix {

/// The array of struct page (vmemmap), and the direct mapping of physical memory; both are indexed by page frame number.
struct PageMap {
  uint64_t structures = 0;
  uint64_t contents = 0;
};

/// The direct mapping begins on a multiple of this (its randomisation moves it by page upper directories), and not below the other.
inline constexpr uint64_t kDirectMappingAlignment = 1ull << 30;
inline constexpr uint64_t kDirectMappingLowest = 0xff00'0000'0000'0000;

/// A page with contents like no other's, whose frame number is known and which a pipe refers to.
class ProbePage {
 public:
  static Result<ProbePage> create();
  ProbePage(ProbePage&&) = default;
  ProbePage& operator=(ProbePage&&) = default;

  uint64_t frame() const { return frame_; }
  int pipe_reader() const { return reader_.get(); }
  std::span<const std::byte> bytes() const { return {page_.get(), kPageSize}; }

 private:
  ProbePage() = default;
  AlignedBytes page_;
  Fd reader_, writer_;
  uint64_t frame_ = 0;
};

}  // namespace perdure::posix
