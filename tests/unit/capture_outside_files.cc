// Which outside files must be on disk before an epoch is.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "capture/outside_files.h"

namespace {

using perdure::Fd;
using perdure::capture::OutsideFiles;

constexpr int64_t kSecondNs = 1'000'000'000;
constexpr OutsideFiles::Key kKey{0x1000, 7};
/// Long before any epoch below.
constexpr OutsideFiles::Stamp kOld{.size = 4, .modified_ns = kSecondNs, .changed_ns = kSecondNs};

class OutsideFilesTest : public ::testing::Test {
 protected:
  OutsideFilesTest() : fd_(::mkstemp(path_)) { ::unlink(path_); }
  std::string link() const { return "/proc/self/fd/" + std::to_string(fd_.get()); }
  /// One epoch, in which the file is open; how many files are to be synced.
  size_t epoch(const OutsideFiles::Stamp& stamp, bool mapped = false) {
    files_.begin(now_ns_ += kSecondNs);
    if (mapped) {
      EXPECT_TRUE(files_.note_mapped(kKey, link()));
    }
    EXPECT_TRUE(files_.note(kKey, link(), stamp));
    files_.end();
    return files_.take().size();
  }
  size_t epoch_without() {
    files_.begin(now_ns_ += kSecondNs);
    files_.end();
    return files_.take().size();
  }
  OutsideFiles::Stamp real_stamp() const {
    struct stat status {};
    EXPECT_EQ(fstat(fd_.get(), &status), 0);
    return {status.st_size, status.st_mtim.tv_sec * kSecondNs + status.st_mtim.tv_nsec, status.st_ctim.tv_sec * kSecondNs + status.st_ctim.tv_nsec};
  }

  char path_[32] = "/tmp/outside_files.XXXXXX";
  Fd fd_;
  OutsideFiles files_;
  int64_t now_ns_ = time(nullptr) * kSecondNs + 100 * kSecondNs;
};

TEST_F(OutsideFilesTest, FirstSightIsSynced) { EXPECT_EQ(epoch(kOld), 1u); }

TEST_F(OutsideFilesTest, UnchangedIsNotSyncedAgain) {
  epoch(kOld);
  EXPECT_EQ(epoch(kOld), 0u);
}

TEST_F(OutsideFilesTest, EachPartOfTheStampCounts) {
  epoch(kOld);
  OutsideFiles::Stamp stamp = kOld;
  ++stamp.size;
  EXPECT_EQ(epoch(stamp), 1u);
  ++stamp.modified_ns;
  EXPECT_EQ(epoch(stamp), 1u);
  ++stamp.changed_ns;
  EXPECT_EQ(epoch(stamp), 1u);
  EXPECT_EQ(epoch(stamp), 0u);
}

TEST_F(OutsideFilesTest, AChangeJustBeforeTheLookMayHideAnother) {
  OutsideFiles::Stamp stamp = kOld;
  stamp.modified_ns = now_ns_ + kSecondNs - 1'000'000;
  EXPECT_EQ(epoch(stamp), 1u);
  EXPECT_EQ(epoch(stamp), 1u);
  EXPECT_EQ(epoch(stamp), 0u);
}

TEST_F(OutsideFilesTest, MappedIsAlwaysSyncedAndOnceMoreAfterwards) {
  EXPECT_EQ(epoch(kOld, true), 1u);
  EXPECT_EQ(epoch(kOld, true), 1u);
  EXPECT_EQ(epoch(kOld), 1u);
  EXPECT_EQ(epoch(kOld), 0u);
}

TEST_F(OutsideFilesTest, WrittenAndClosedIsSyncedALastTime) {
  epoch(real_stamp());
  ASSERT_EQ(::write(fd_.get(), "x", 1), 1);
  EXPECT_EQ(epoch_without(), 1u);
  EXPECT_EQ(epoch_without(), 0u);
}

TEST_F(OutsideFilesTest, ClosedUnchangedIsNotSynced) {
  epoch(real_stamp());
  EXPECT_EQ(epoch_without(), 0u);
}

TEST_F(OutsideFilesTest, AnEpochThatFailedLeavesItsFilesToTheNext) {
  files_.begin(now_ns_ += kSecondNs);
  ASSERT_TRUE(files_.note(kKey, link(), kOld));
  EXPECT_EQ(epoch(kOld), 1u);
}

TEST_F(OutsideFilesTest, AFileThatCannotBeOpenedIsToldOf) {
  files_.begin(now_ns_);
  EXPECT_FALSE(files_.note(kKey, "/proc/self/fd/1000000", kOld));
}

}  // namespace
