#include <gtest/gtest.h>
#include <signal.h>

#include "supervisor/crashes.h"

namespace perdure::supervisor {
namespace {

constexpr int kCoreDumped = 0x80;

TEST(Crash, IsASignalThatNobodySendsToEndAProgram) {
  for (const int number : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGKILL, SIGXCPU, SIGRTMIN}) {
    EXPECT_TRUE(is_crash(number)) << number;
    EXPECT_TRUE(is_crash(number | kCoreDumped)) << number;
  }
  for (const int number : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE}) EXPECT_FALSE(is_crash(number)) << number;
  for (const int status : {0, 1, 139, 255}) EXPECT_FALSE(is_crash(status << 8)) << status;
}

TEST(Crash, IsNamed) {
  EXPECT_EQ(describe_signal(SIGSEGV), "SIGSEGV, Segmentation fault");
  EXPECT_EQ(describe_signal(SIGRTMIN + 1), "signal 35");
}

TEST(CrashRow, EndsWithoutSomeHealthyLife) {
  CrashRow row;
  size_t step = 0;
  for (int resume = 1; resume <= CrashRow::kResumesMax; ++resume) {
    EXPECT_TRUE(row.note_crash(1));
    EXPECT_EQ(row.resumes(), resume);
    EXPECT_TRUE(resume == 1 ? row.step_back() == 0 : row.step_back() > step);
    step = row.step_back();
  }
  EXPECT_FALSE(row.note_crash(CrashRow::kHealthyNs - 1));
  EXPECT_TRUE(row.note_crash(CrashRow::kHealthyNs));
  EXPECT_EQ(row.resumes(), 1);
  EXPECT_EQ(row.step_back(), 0u);
}

std::vector<store::EpochNumber> epochs_of(const Lineage& lineage, store::EpochNumber last) {
  std::vector<store::EpochNumber> epochs;
  for (store::EpochNumber epoch = 1; epoch <= last; ++epoch) {
    if (lineage.contains(epoch)) epochs.push_back(epoch);
  }
  return epochs;
}

TEST(Lineage, LeavesOutOtherRunsAndWhatWasLeftBehind) {
  using Epochs = std::vector<store::EpochNumber>;
  Lineage lineage;
  EXPECT_EQ(epochs_of(lineage, 9), Epochs{});
  lineage.begin(4);
  EXPECT_EQ(epochs_of(lineage, 9), (Epochs{4, 5, 6, 7, 8, 9}));
  lineage.go_on(9, 9);
  EXPECT_EQ(epochs_of(lineage, 11), (Epochs{4, 5, 6, 7, 8, 9, 10, 11}));
  lineage.go_on(7, 12);
  EXPECT_EQ(epochs_of(lineage, 13), (Epochs{4, 5, 6, 7, 12, 13}));
  lineage.go_on(12, 15);
  EXPECT_EQ(epochs_of(lineage, 16), (Epochs{4, 5, 6, 7, 12, 15, 16}));
  lineage.go_on(5, 18);
  EXPECT_EQ(epochs_of(lineage, 19), (Epochs{4, 5, 18, 19}));
}

}  // namespace
}  // namespace perdure::supervisor
