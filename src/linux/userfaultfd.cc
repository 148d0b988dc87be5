#include "linux/userfaultfd.h"

#include <fmt/format.h>
#include <unistd.h>

#include "linux/uapi.h"

namespace perdure {

Result<void> enable_write_tracking(int userfaultfd) {
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = linux_uapi::kUffdFeatureWpAsync | linux_uapi::kUffdFeatureWpUnpopulated |
                 linux_uapi::kUffdFeatureWpHugetlbfsShmem | UFFD_FEATURE_EVENT_FORK;
  if (ioctl(userfaultfd, UFFDIO_API, &api) != 0) return system_error("enable write tracking (UFFDIO_API)");
  return {};
}

Result<bool> register_write_tracking(int userfaultfd, uint64_t start, uint64_t end) {
  uffdio_register request{};
  request.range = {start, end - start};
  request.mode = UFFDIO_REGISTER_MODE_WP;
  if (ioctl(userfaultfd, UFFDIO_REGISTER, &request) == 0) return true;
  if (errno == EINVAL || errno == EPERM) return false;
  if (errno == EBUSY) return failure(fmt::format("memory at {:x}-{:x} is watched by a userfaultfd of the program's own", start, end));
  return system_error(fmt::format("track writes to {:x}-{:x} (UFFDIO_REGISTER)", start, end));
}

Result<void> count_as_written(int userfaultfd, uint64_t start, uint64_t end) {
  uffdio_writeprotect request{};
  request.range = {start, end - start};
  if (ioctl(userfaultfd, UFFDIO_WRITEPROTECT, &request) == 0) return {};
  return system_error(fmt::format("begin to track writes to {:x}-{:x} (UFFDIO_WRITEPROTECT)", start, end));
}

Result<void> enable_filling(int userfaultfd) {
  uffdio_api api{};
  api.api = UFFD_API;
  if (ioctl(userfaultfd, UFFDIO_API, &api) != 0) return system_error("fill memory (UFFDIO_API)");
  return {};
}

Result<void> enable_lazy_filling(int userfaultfd) {
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = linux_uapi::kUffdFeatureWpAsync | linux_uapi::kUffdFeatureWpUnpopulated | UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP |
                 UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP;
  if (ioctl(userfaultfd, UFFDIO_API, &api) != 0) return system_error("fill memory while it is used (UFFDIO_API)");
  return {};
}

namespace {

Result<void> register_to_fill(int userfaultfd, uint64_t start, uint64_t end, uint64_t mode) {
  uffdio_register request{};
  request.range = {start, end - start};
  request.mode = mode;
  if (ioctl(userfaultfd, UFFDIO_REGISTER, &request) == 0) return {};
  return system_error(fmt::format("fill memory at {:x}-{:x} (UFFDIO_REGISTER)", start, end));
}

}  // namespace

Result<void> register_missing(int userfaultfd, uint64_t start, uint64_t end) {
  return register_to_fill(userfaultfd, start, end, UFFDIO_REGISTER_MODE_MISSING);
}

Result<void> register_lazy(int userfaultfd, uint64_t start, uint64_t end) {
  return register_to_fill(userfaultfd, start, end, UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP);
}

Result<uint64_t> put_page_contents(int userfaultfd, uint64_t address, std::span<const std::byte> contents) {
  uint64_t done = 0;
  while (done < contents.size()) {
    uffdio_copy request{};
    request.dst = address + done;
    request.src = reinterpret_cast<uint64_t>(contents.data()) + done;
    request.len = contents.size() - done;
    if (ioctl(userfaultfd, UFFDIO_COPY, &request) == 0) return contents.size();
    const int problem = errno;
    if (request.copy > 0) done += static_cast<uint64_t>(request.copy);
    if (problem == EEXIST) break;
    if (problem != EAGAIN) return std::unexpected(Error{fmt::format("fill memory at {:x} (UFFDIO_COPY)", address + done), problem});
  }
  return done;
}

Result<void> count_as_unwritten(int userfaultfd, uint64_t start, uint64_t end) {
  uffdio_writeprotect request{};
  request.range = {start, end - start};
  request.mode = UFFDIO_WRITEPROTECT_MODE_WP;
  if (ioctl(userfaultfd, UFFDIO_WRITEPROTECT, &request) == 0) return {};
  return system_error(fmt::format("begin to track writes to {:x}-{:x} (UFFDIO_WRITEPROTECT)", start, end));
}

Result<Fd> read_fork_event(int userfaultfd) {
  uffd_msg message{};
  const ssize_t got = ::read(userfaultfd, &message, sizeof message);
  if (got < 0) {
    if (errno == EAGAIN || errno == EINTR) return Fd{};
    return system_error("read a userfaultfd event");
  }
  if (got != sizeof message || message.event != UFFD_EVENT_FORK) return Fd{};
  return Fd(static_cast<int>(message.arg.fork.ufd));
}

}  // namespace perdure
