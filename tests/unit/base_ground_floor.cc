#include <fcntl.h>
#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/result.h"

namespace perdure {
namespace {

Result<int> half(int number) {
  if (number % 2 != 0) return failure("odd");
  return number / 2;
}

Result<int> quarter(int number) { return TRY(half(TRY(half(number)))); }

TEST(Result, TryUnwrapsOrReturnsTheError) {
  EXPECT_EQ(quarter(12), 3);
  EXPECT_EQ(quarter(6).error().what, "odd");
}

TEST(Result, AnErrorSaysWhatWhereAndWhy) {
  errno = ENOENT;
  Error error = system_error("open x").error();
  EXPECT_EQ(error.error_number, ENOENT);
  EXPECT_EQ(std::move(error).in("group 'g'").message(), "group 'g': open x: No such file or directory");
  EXPECT_EQ(failure("plain").error().message(), "plain");
}

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

TEST(Fd, ClosesWhatItOwnsOnce) {
  const int number = ::open("/dev/null", O_RDONLY);
  {
    Fd first(number);
    Fd second(std::move(first));
    EXPECT_FALSE(first.valid());
    EXPECT_TRUE(is_open(number));
    second = std::move(second);
    EXPECT_TRUE(is_open(number));
  }
  EXPECT_FALSE(is_open(number));
  const int kept = Fd(::open("/dev/null", O_RDONLY)).release();
  EXPECT_TRUE(is_open(kept));
  ::close(kept);
}

TEST(Bytes, AlignsToPages) {
  EXPECT_EQ(align_up(1, kPageSize), kPageSize);
  EXPECT_EQ(align_up(kPageSize, kPageSize), kPageSize);
  EXPECT_EQ(align_down(2 * kPageSize - 1, kPageSize), kPageSize);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(allocate_aligned(100).get()) % kPageSize, 0u);
}

TEST(Clock, SplitsNanoseconds) {
  const timespec time = to_timespec(3 * kNanosecondsPerSecond + 7);
  EXPECT_EQ(time.tv_sec, 3);
  EXPECT_EQ(time.tv_nsec, 7);
  const int64_t before_ns = monotonic_ns();
  EXPECT_GE(monotonic_ns(), before_ns);
}

}  // namespace
}  // namespace perdure
