// Writes that go on while their caller does something else.
#pragma once

#include <linux/aio_abi.h>
#include <sys/uio.h>

#include <cstdint>
#include <span>
#include <vector>

namespace perdure::store {

/// Direct writes under way (io_submit(2)). One thread.
class AsyncWrites {
 public:
  AsyncWrites() = default;
  AsyncWrites(const AsyncWrites&) = delete;
  AsyncWrites& operator=(const AsyncWrites&) = delete;
  ~AsyncWrites();

  /// Begins to write the pieces, IOV_MAX at most, one behind the other; their memory stays as it is until finish(). False where that cannot be done:
  /// nothing has been written then.
  bool begin(int fd, uint64_t offset, std::span<const iovec> pieces);

  struct Written {
    uint64_t offset;
    std::vector<iovec> pieces;
    int64_t result;  ///< bytes written, from the first on; or -errno
  };
  /// Waits for all that was begun.
  std::vector<Written> finish();

 private:
  void await(size_t count);

  aio_context_t context_ = 0;
  bool unavailable_ = false;
  std::vector<Written> writes_;
  size_t under_way_ = 0;
};

}  // namespace perdure::store
