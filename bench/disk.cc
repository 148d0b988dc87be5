// What durability and restores are held against, in microseconds, a line each:
//   disk write DIRECTORY BYTES COUNT PERIOD_US   one O_DIRECT write and fdatasync, overwriting, each period
//   disk copy BYTES COUNT                        filling fresh memory of another process by process_vm_writev
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/fd.h"

using namespace perdure;

namespace {

constexpr size_t kRoundBytes = size_t{256} << 20;
constexpr size_t kChunkBytes = size_t{4} << 20;

[[noreturn]] void fail(const std::string& what) {
  std::perror(("disk: " + what).c_str());
  std::exit(1);
}

AlignedBytes filled(size_t size) {
  auto bytes = allocate_aligned(size);
  if (bytes == nullptr) fail("memory");
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 2654435761u >> 13);
  return bytes;
}

void print_since(int64_t start_ns) { std::printf("%.1f\n", static_cast<double>(monotonic_ns() - start_ns) / 1000); }

void write_rounds(const std::string& directory, size_t bytes, int count, int64_t period_us) {
  const size_t size = align_up(bytes, kPageSize);
  const size_t round = std::max(kRoundBytes, size);
  const std::string path = directory + "/raw";
  const Fd file(open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_DIRECT | O_CLOEXEC, 0600));
  if (!file) fail(path);
  unlink(path.c_str());
  const auto data = filled(std::max(size, kChunkBytes));
  for (size_t at = 0; at < round; at += kChunkBytes)
    if (pwrite(file.get(), data.get(), kChunkBytes, static_cast<off_t>(at)) < 0) fail("write");
  fsync(file.get());
  size_t at = 0;
  const int64_t begin_ns = monotonic_ns();
  for (int i = 0; i < count; ++i) {
    const timespec when = to_timespec(begin_ns + i * period_us * 1000);
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, nullptr);
    if (at + size > round) at = 0;
    const int64_t start_ns = monotonic_ns();
    if (pwrite(file.get(), data.get(), size, static_cast<off_t>(at)) != static_cast<ssize_t>(size)) fail("write");
    if (fdatasync(file.get()) != 0) fail("fdatasync");
    print_since(start_ns);
    at += size;
  }
}

void copy_once(const std::byte* data, size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("mmap");
  const pid_t child = fork();
  if (child < 0) fail("fork");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) ::pause();
  }
  const int64_t start_ns = monotonic_ns();
  for (size_t at = 0; at < bytes; at += kChunkBytes) {
    const size_t size = std::min(kChunkBytes, bytes - at);
    const iovec from{const_cast<std::byte*>(data) + at, size};
    const iovec to{static_cast<std::byte*>(memory) + at, size};
    if (process_vm_writev(child, &from, 1, &to, 1, 0) != static_cast<ssize_t>(size)) fail("process_vm_writev");
  }
  print_since(start_ns);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  munmap(memory, bytes);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "write" && argc == 6) {
    write_rounds(argv[2], std::strtoull(argv[3], nullptr, 10), std::atoi(argv[4]), std::atol(argv[5]));
    return 0;
  }
  if (what == "copy" && argc == 4) {
    const size_t bytes = std::strtoull(argv[2], nullptr, 10);
    const auto data = filled(bytes);
    for (int i = 0; i < std::atoi(argv[3]); ++i) copy_once(data.get(), bytes);
    return 0;
  }
  std::fputs("usage: disk write DIRECTORY BYTES COUNT PERIOD_US | disk copy BYTES COUNT\n", stderr);
  return 2;
}
