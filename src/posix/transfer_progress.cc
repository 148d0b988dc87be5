#include "posix/transfer_progress.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace perdure::posix {

namespace {

/// A struct iov_iter that may or may not lie at a place on the stack.
struct Candidate {
  uint8_t type;
  uint64_t position;  ///< within the current buffer
  uint64_t buffer;
  uint64_t remaining;
  uint64_t segments;
};

template <typename T>
T field_at(std::span<const std::byte> bytes, size_t offset) {
  T value;
  std::memcpy(&value, &bytes[offset], sizeof(value));
  return value;
}

Candidate candidate_at(std::span<const std::byte> bytes, const KernelLayout& layout) {
  return {field_at<uint8_t>(bytes, layout.type_offset), field_at<uint64_t>(bytes, layout.position_offset),
          field_at<uint64_t>(bytes, layout.buffer_offset), field_at<uint64_t>(bytes, layout.count_offset),
          field_at<uint64_t>(bytes, layout.segment_count_offset)};
}

std::optional<uint64_t> progress_in_buffer(const Candidate& candidate, const UserBuffer& buffer) {
  const uint64_t size = std::min(buffer.size, kTransferLimit);
  if (candidate.buffer != buffer.address || candidate.position > size) return {};
  if (candidate.position + candidate.remaining != size) return {};
  return candidate.position;
}

/// The kernel drops the buffers that are done from the front of its own vector: what is left, and the offset in the first of it, must
/// agree with the count that remains.
std::optional<uint64_t> progress_in_vector(const Candidate& candidate, std::span<const UserBuffer> buffers) {
  const auto sum = [](uint64_t total, const UserBuffer& buffer) { return total + buffer.size; };
  const uint64_t size = std::min(std::accumulate(buffers.begin(), buffers.end(), uint64_t{0}, sum), kTransferLimit);
  if (candidate.segments == 0 || candidate.segments > buffers.size() || candidate.remaining > size) return {};
  const auto done = buffers.first(buffers.size() - candidate.segments);
  const uint64_t finished = std::accumulate(done.begin(), done.end(), uint64_t{0}, sum);
  if (candidate.position > buffers[done.size()].size || finished + candidate.position != size - candidate.remaining) return {};
  // Any two zero words look like an untouched vector of which nothing is known: its address must at least be the kernel's.
  if (candidate.buffer < 1ull << 63) return {};
  return finished + candidate.position;
}

/// Whether this tells what is left of pages that lie in a pipe: the vector of them lies on the stack as well.
bool is_left_of_pages(const Candidate& candidate, const KernelStack& stack, const KernelLayout& layout, uint64_t bytes_in_pipe) {
  constexpr uint64_t kSegmentsMax = 16;
  if (candidate.type != layout.page_vector_type || candidate.segments == 0 || candidate.segments > kSegmentsMax) return false;
  if (candidate.buffer < stack.address || candidate.buffer >= stack.address + stack.bytes.size()) return false;
  return candidate.remaining != 0 && candidate.remaining <= bytes_in_pipe;
}

}  // namespace

std::optional<uint64_t> transferred_bytes(const KernelStack& stack, const KernelLayout& layout, std::span<const UserBuffer> buffers) {
  std::optional<uint64_t> most;
  for (size_t at = 0; at + layout.iterator_size <= stack.bytes.size(); at += sizeof(uint64_t)) {
    const Candidate candidate = candidate_at(stack.bytes.subspan(at, layout.iterator_size), layout);
    // A transfer with nothing left would not sleep: that is what an earlier call has left behind.
    if (candidate.remaining == 0) continue;
    std::optional<uint64_t> progress;
    if (candidate.type == layout.buffer_type && buffers.size() == 1) progress = progress_in_buffer(candidate, buffers.front());
    if (candidate.type == layout.vector_type) progress = progress_in_vector(candidate, buffers);
    // The layers of a call copy the iterator, and only the innermost advances its copy while it sleeps.
    if (progress && (!most || *progress > *most)) most = progress;
  }
  return most;
}

std::optional<uint64_t> spliced_bytes(const KernelStack& stack, const KernelLayout& layout, const Splice& splice) {
  std::optional<uint64_t> sent_before;  // by rounds that are over, and by calls that emptied part of the pipe
  uint64_t left = splice.bytes_in_pipe;
  for (size_t at = 0; at < stack.bytes.size(); at += sizeof(uint64_t)) {
    const auto here = stack.bytes.subspan(at);
    if (here.size() >= layout.splice_size && field_at<uint64_t>(here, layout.splice_file_offset) == splice.target_file &&
        field_at<uint32_t>(here, layout.splice_length_offset) == static_cast<uint32_t>(splice.wanted_bytes)) {
      const auto read = field_at<uint64_t>(here, layout.splice_total_offset);
      const auto position = field_at<uint64_t>(here, layout.splice_position_offset);
      if (read >= splice.bytes_in_pipe && position >= splice.source_position && position - splice.source_position + read <= splice.wanted_bytes) {
        sent_before = position - splice.source_position + read - splice.bytes_in_pipe;
      }
    }
    if (here.size() < layout.iterator_size) continue;
    const Candidate candidate = candidate_at(here.first(layout.iterator_size), layout);
    if (is_left_of_pages(candidate, stack, layout, splice.bytes_in_pipe)) left = std::min(left, candidate.remaining);
  }
  if (!sent_before) return {};
  return *sent_before + splice.bytes_in_pipe - left;
}

std::optional<uint64_t> sleep_end_ticks(const KernelStack& stack, const KernelLayout& layout, uint64_t task, const FileWait& wait) {
  // struct timer_list: a list's two links, the second of which is never null in a timer that runs, the end, and the function to call.
  constexpr size_t kLinkOffset = sizeof(uint64_t);
  constexpr uint64_t kKernelMemory = 1ull << 63, kKernelText = 0xffffffff80000000;
  for (size_t at = 0; at + layout.sleep_timer_size <= stack.bytes.size(); at += sizeof(uint64_t)) {
    const auto here = stack.bytes.subspan(at, layout.sleep_timer_size);
    const auto end = field_at<uint64_t>(here, layout.sleep_timer_expires_offset);
    const auto function = field_at<uint64_t>(here, layout.sleep_timer_expires_offset + sizeof(uint64_t));
    if (field_at<uint64_t>(here, layout.sleep_timer_task_offset) != task || field_at<uint64_t>(here, kLinkOffset) < kKernelMemory) continue;
    if (function < kKernelText || end >= kKernelMemory || end > wait.now_ticks + wait.timeout_ticks) continue;
    return end;
  }
  return {};
}

}  // namespace perdure::posix
