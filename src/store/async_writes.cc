#include "store/async_writes.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

namespace perdure::store {
namespace {

/// More would only pin more memory: a write is up to 16 MiB.
constexpr size_t kUnderWayMax = 8;

}  // namespace

AsyncWrites::~AsyncWrites() {
  finish();
  if (context_ != 0) ::syscall(SYS_io_destroy, context_);
}

bool AsyncWrites::begin(int fd, uint64_t offset, std::span<const iovec> pieces) {
  if (context_ == 0 && !unavailable_) unavailable_ = ::syscall(SYS_io_setup, kUnderWayMax, &context_) != 0;
  if (unavailable_) return false;
  if (under_way_ == kUnderWayMax) await(1);
  iocb request{};
  request.aio_data = writes_.size();
  request.aio_lio_opcode = IOCB_CMD_PWRITEV;
  request.aio_fildes = static_cast<uint32_t>(fd);
  request.aio_buf = reinterpret_cast<uint64_t>(pieces.data());
  request.aio_nbytes = pieces.size();
  request.aio_offset = static_cast<int64_t>(offset);
  iocb* requests = &request;
  if (::syscall(SYS_io_submit, context_, 1, &requests) != 1) return false;
  writes_.push_back({offset, {pieces.begin(), pieces.end()}, 0});
  ++under_way_;
  return true;
}

void AsyncWrites::await(size_t count) {
  std::array<io_event, kUnderWayMax> events{};
  while (count > 0) {
    const long got = ::syscall(SYS_io_getevents, context_, 1, events.size(), events.data(), nullptr);
    // Whatever is in the way, their memory is the kernel's until they are done.
    if (got < 0) continue;
    for (long i = 0; i < got; ++i) writes_[events[static_cast<size_t>(i)].data].result = events[static_cast<size_t>(i)].res;
    const auto done = static_cast<size_t>(got);
    under_way_ -= done;
    count -= std::min(count, done);
  }
}

std::vector<AsyncWrites::Written> AsyncWrites::finish() {
  await(under_way_);
  return std::exchange(writes_, {});
}

}  // namespace perdure::store
