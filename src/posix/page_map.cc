#include "posix/page_map.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <unistd.h>

namespace perdure::posix {

namespace {

constexpr uint64_t kFrameMask = (1ull << 55) - 1;  // Documentation/admin-guide/mm/pagemap.rst

Result<uint64_t> frame_of(const void* page) {
  const Fd pagemap(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  if (!pagemap) return system_error("cannot open /proc/self/pagemap");
  uint64_t entry = 0;
  const auto offset = static_cast<off_t>(reinterpret_cast<uint64_t>(page) / kPageSize * sizeof(entry));
  if (::pread(pagemap.get(), &entry, sizeof(entry), offset) != sizeof(entry)) return system_error("cannot read /proc/self/pagemap");
  if ((entry & kFrameMask) == 0) return std::unexpected(Error{"page frame numbers are hidden: CAP_SYS_ADMIN is needed", EPERM});
  return entry & kFrameMask;
}

}  // namespace

Result<ProbePage> ProbePage::create() {
  ProbePage probe;
  probe.page_ = allocate_aligned(kPageSize);
  if (!probe.page_) return std::unexpected(Error{"cannot allocate a page", ENOMEM});
  if (::getrandom(probe.page_.get(), kPageSize, 0) != static_cast<ssize_t>(kPageSize)) return system_error("cannot fill a page");
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return system_error("cannot make a pipe");
  probe.reader_.reset(ends[0]);
  probe.writer_.reset(ends[1]);
  // The pipe's reference also pins the page: its frame stays what it is.
  const iovec whole{probe.page_.get(), kPageSize};
  if (::vmsplice(ends[1], &whole, 1, 0) != static_cast<ssize_t>(kPageSize)) return system_error("cannot refer to a page from a pipe");
  probe.frame_ = TRY(frame_of(probe.page_.get()));
  return probe;
}

}  // namespace perdure::posix
