#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <set>

#include "base/bytes.h"
#include "base/clock.h"
#include "linux/process.h"
#include "linux/remote.h"
#include "linux_child.h"
#include "memory/inode_pages.h"
#include "memory/page_audit.h"
#include "memory/page_pool.h"
#include "memory/page_reader.h"
#include "memory/tracked_space.h"
#include "store_scratch.h"

namespace perdure::memory {
namespace {

using testing::Child;

TEST(PageSet, EqualsASetOfNumbers) {
  std::mt19937 random(1);
  PageSet pages;
  std::set<uint64_t> model;
  for (int round = 0; round < 3000; ++round) {
    const PageRun run{random() % 200, 1 + random() % 20};
    if (random() % 2 != 0) {
      pages.insert(run);
      for (uint64_t page = run.first; page < run.end(); ++page) model.insert(page);
    } else {
      std::set<uint64_t> removed;
      for (const PageRun& part : pages.remove(run))
        for (uint64_t page = part.first; page < part.end(); ++page) removed.insert(page);
      std::set<uint64_t> expected;
      for (uint64_t page = run.first; page < run.end(); ++page)
        if (model.erase(page) != 0) expected.insert(page);
      ASSERT_EQ(removed, expected);
    }
    ASSERT_EQ(pages.page_count(), model.size());
    ASSERT_EQ(pages.contains(run.first), model.contains(run.first));
  }
  uint64_t previous_end = 0;
  for (const PageRun& run : pages.runs()) {
    EXPECT_TRUE(previous_end == 0 || run.first > previous_end) << "runs touch";
    previous_end = run.end();
  }
}

constexpr uint64_t kPages = 200;  // the half that is filled is more than one piece of the copy

uint64_t page_count(const DirtyPages& dirty) {
  uint64_t count = 0;
  for (const auto& run : dirty.written) count += run.count;
  return count;
}
constexpr uint64_t kFork = 3 * kPages;  // told instead of a page

/// Of a child that has reached its first step.
Result<TrackedSpace> begin_tracking(Child& child, ForkWatch& watch) {
  if (!child.reaches(1)) return failure("the child does not start");
  auto thread = TRY(TracedThread::seize(child.pid(), PTRACE_O_TRACESYSGOOD));
  TRY(thread.interrupt());
  TRY(thread.wait_for_stop(10 * kNanosecondsPerSecond));
  uint64_t vdso = 0;
  for (const auto& mapping : TRY(special_mappings(child.pid())))
    if (mapping.name == "[vdso]") vdso = mapping.start;
  return TrackedSpace::begin(thread, child.pid(), vdso, vdso + TRY(find_vdso_syscall_offset()), watch);
}

/// A child that writes to the page whose number it is told, each time its step is raised.
class TrackingThreads : public ::testing::Test {
 protected:
  TrackingThreads()
      : memory_(static_cast<std::byte*>(::mmap(nullptr, kPages * kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))),
        child_([memory = memory_](Child::Shared& shared) {
          // No two alike.
          for (uint64_t page = 0; page < kPages / 2; ++page) std::memset(memory + page * kPageSize, static_cast<int>(page + 1), kPageSize);
          for (uint64_t done = 1;; ++done) {
            shared.step = done;
            while (shared.faults < done) ::usleep(100);
            const uint64_t page = shared.word;
            if (page == kFork) {
              if (::fork() == 0) {
                memory[9 * kPageSize] = std::byte(99);
                for (;;) ::pause();
              }
            } else if (page < kPages) memory[page * kPageSize] = std::byte(done + 100);
            else ::madvise(memory + (page - kPages) * kPageSize, kPageSize, MADV_DONTNEED);
          }
        }) {}
  ~TrackingThreads() override { ::munmap(memory_, kPages * kPageSize); }

  void tell(uint64_t page) {
    const uint64_t next = child_.shared().step + 1;
    child_.shared().word = page;
    child_.shared().faults = next - 1;
    ASSERT_TRUE(child_.reaches(next));
  }
  void write_to(uint64_t page) { tell(page); }
  void give_back(uint64_t page) { tell(kPages + page); }

  Result<TrackedSpace> begin() {
    auto space = TRY(begin_tracking(child_, *watch_));
    const auto start = reinterpret_cast<uint64_t>(memory_);
    TRY(space.set_ranges({{TrackedRange::Kind::anonymous, start, start + kPages * kPageSize, 5, start / kPageSize}}));
    return space;
  }
  std::vector<pid_t> grandchildren() const {
    std::ifstream children(fmt::format("/proc/{0}/task/{0}/children", child_.pid()));
    return {std::istream_iterator<pid_t>(children), std::istream_iterator<pid_t>()};
  }
  void kill_grandchildren() const {
    for (const pid_t grandchild : grandchildren()) ::kill(grandchild, SIGKILL);
  }
  /// The space of the grandchild that the one fork so far made.
  Result<TrackedSpace> adopt_grandchild(const TrackedSpace& parent) {
    std::vector<ForkWatch::Fork> forks;
    for (int tries = 0; tries < 1000 && forks.empty(); ++tries, ::usleep(1000)) forks = watch_->take();
    const auto children = grandchildren();
    if (forks.size() != 1 || children.size() != 1 || forks.front().parent != parent.watched().number()) return failure("not one fork of the child");
    auto space = TRY(TrackedSpace::adopt(std::move(forks.front().child), children.front()));
    auto ranges = parent.ranges();
    for (TrackedRange& range : ranges) range.tracked = true;  // it was born so
    TRY(space.set_ranges(std::move(ranges)));
    return space;
  }
  uint64_t page_number(uint64_t page) const { return reinterpret_cast<uint64_t>(memory_) / kPageSize + page; }

  std::unique_ptr<ForkWatch> watch_ = std::move(*ForkWatch::create());
  std::byte* memory_;
  Child child_;
};

TEST_F(TrackingThreads, AForkedChildComesTracked) {
  auto space = begin();
  ASSERT_TRUE(space) << space.error().message();
  ASSERT_TRUE(space->scan());
  write_to(3);
  tell(kFork);
  write_to(4);
  auto tracked = adopt_grandchild(*space);
  ASSERT_TRUE(tracked) << tracked.error().message();
  std::set<uint64_t> written, expected{page_number(3), page_number(9)};
  for (int tries = 0; tries < 1000 && !written.contains(page_number(9)); ++tries, ::usleep(1000)) {
    const auto dirty = tracked->scan();
    ASSERT_TRUE(dirty);
    for (const auto& run : dirty->written)
      for (uint64_t i = 0; i < run.count; ++i) written.insert(run.first_page + i);
  }
  EXPECT_EQ(written, expected) << "what was written before the fork, and by the child itself";
  kill_grandchildren();
  EXPECT_EQ(page_count(*space->scan()), 2u);
}

TEST_F(TrackingThreads, OfVeryManyForksTheLastAreKept) {
  constexpr size_t kForks = 300, kKept = 256;
  auto space = begin();
  ASSERT_TRUE(space) << space.error().message();
  for (size_t forks = 0; forks < kForks; ++forks) tell(kFork);
  EXPECT_EQ(watch_->take().size(), kKept);
  EXPECT_FALSE(watch_->is_lost(space->watched()));
  kill_grandchildren();
}

TEST_F(TrackingThreads, AForkForWhichNoDescriptorIsLeftGoesOnUntracked) {
  auto space = begin();
  ASSERT_TRUE(space) << space.error().message();
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{0, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  tell(kFork);
  ::setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_TRUE(watch_->take().empty());
  EXPECT_TRUE(watch_->is_lost(space->watched()));
  kill_grandchildren();
}

TEST_F(TrackingThreads, FindsWhatWasWrittenSinceTheLastScan) {
  auto space = begin();
  ASSERT_TRUE(space) << space.error().message();
  const auto all = space->scan();
  ASSERT_TRUE(all);
  EXPECT_EQ(page_count(*all), kPages / 2) << "new mappings count as written as far as they are there";
  EXPECT_EQ(page_count(*space->scan()), 0u);
  write_to(3);
  write_to(40);
  const auto dirty = space->scan();
  ASSERT_TRUE(dirty);
  ASSERT_EQ(dirty->written.size(), 2u);
  EXPECT_EQ(dirty->written[0].first_page, page_number(3));
  EXPECT_EQ(dirty->written[1].first_page, page_number(40));
  EXPECT_EQ(dirty->written[0].space, 5u);
}

TEST_F(TrackingThreads, TellsOfPagesThatHaveComeBetweenTheRanges) {
  auto space = begin();
  ASSERT_TRUE(space) << space.error().message();
  ASSERT_TRUE(space->scan());
  const auto part = [&](uint64_t first, uint64_t end) {
    return TrackedRange{TrackedRange::Kind::anonymous, page_number(first) * kPageSize, page_number(end) * kPageSize, 5, page_number(first), true};
  };
  ASSERT_TRUE(space->set_ranges({part(0, 10), part(20, 30)}));
  for (const uint64_t page : {9, 10, 15, 19, 20}) write_to(page);
  const auto some = space->scan();
  ASSERT_TRUE(some) << some.error().message();
  EXPECT_EQ(page_count(*some), 2u);
  ASSERT_EQ(some->strays.size(), 3u);
  for (const PageRun& run : some->strays) ASSERT_TRUE(space->count_as_written(run));
  ASSERT_TRUE(space->set_ranges({part(0, kPages)}));
  EXPECT_EQ(page_count(*space->scan()), 3u);
  // A part of what is named is mapped no more.
  ASSERT_TRUE(space->count_as_written({page_number(kPages - 1), 2}));
}

TEST_F(TrackingThreads, WhatIsReadOfARunningProcessIsCleanAfterwardsOrLost) {
  auto space = begin();
  ASSERT_TRUE(space) << space.error().message();
  ASSERT_TRUE(space->scan());
  const auto reader = PageReader::create();
  write_to(3);
  write_to(40);
  const auto read = reader->read_running({&*space}, [] { return true; });
  ASSERT_TRUE(read.front()) << read.front().error().message();
  ASSERT_EQ(page_count(read.front()->dirty), 2u);
  ASSERT_EQ(read.front()->contents.size(), 1u);
  std::byte first{};
  ASSERT_EQ(read_pieces(child_.pid(), std::vector{RemotePiece{page_number(3) * kPageSize, 1}}, &first), 1u);
  EXPECT_EQ(read.front()->contents.front()[0], first);
  EXPECT_TRUE(read.front()->lost.empty());
  EXPECT_EQ(page_count(*space->scan()), 0u);
  write_to(3);
  write_to(41);
  const auto refused = reader->read_running({&*space}, [] { return false; });
  ASSERT_TRUE(refused.front());
  EXPECT_EQ(page_count(refused.front()->dirty), 0u);
  ASSERT_EQ(refused.front()->lost.size(), 2u);
  EXPECT_EQ(page_count(*space->scan()), 0u);
  for (const auto& run : refused.front()->lost) ASSERT_TRUE(space->count_as_written({run.first_page, run.count}));
  EXPECT_EQ(page_count(*space->scan()), 2u) << "they count as written again";
}

TEST_F(TrackingThreads, TellsOfPagesGivenBack) {
  auto space = begin();
  ASSERT_TRUE(space) << space.error().message();
  ASSERT_TRUE(space->scan());
  give_back(7);
  const auto dirty = space->scan();
  ASSERT_TRUE(dirty);
  EXPECT_EQ(page_count(*dirty), 0u);
  const auto presence = space->presence();
  ASSERT_TRUE(presence);
  PageSet absent;
  for (const PageRun& run : presence->absent) absent.insert(run);
  EXPECT_TRUE(absent.contains(page_number(7)));
  EXPECT_FALSE(absent.contains(page_number(8)));
}

TEST_F(TrackingThreads, AnAuditFindsAPageThatTheStoreHasOtherwise) {
  store::testing::ScratchDirectory scratch;
  auto store = store::Store::create(scratch.path() + "/s", {});
  ASSERT_TRUE(store) << store.error().message();
  auto space = begin();
  ASSERT_TRUE(space) << space.error().message();
  store::Changes changes;
  const auto reader = PageReader::create();
  reader->begin({&*space});
  auto read = reader->finish();
  ASSERT_EQ(read.spaces.size(), 1u);
  ASSERT_TRUE(read.spaces.front()) << read.spaces.front().error().message();
  put_pages(std::move(*read.spaces.front()), changes);
  ASSERT_TRUE((*store)->append({.epoch = 1, .realtime_ns = 0, .label = {}, .attributes = {}}, changes));
  PageAudit right;
  ASSERT_TRUE(right.add_space(*space, 5));
  EXPECT_TRUE(right.compare(**(*store)->view(1)).empty());
  write_to(3);
  write_to(150);
  PageAudit wrong;
  ASSERT_TRUE(wrong.add_space(*space, 5));
  EXPECT_EQ(wrong.compare(**(*store)->view(1)).size(), 2u);
}

TEST_F(TrackingThreads, TwoSpacesAreReadByTwoWhileForksAreTaken) {
  auto space = begin();
  ASSERT_TRUE(space) << space.error().message();
  tell(kFork);
  auto forked = adopt_grandchild(*space);
  ASSERT_TRUE(forked) << forked.error().message();
  const auto reader = PageReader::create();
  constexpr uint64_t kRounds = 100, kForkEvery = 10;
  for (uint64_t round = 0; round < kRounds; ++round) {
    if (round % kForkEvery == 0) tell(kFork);
    write_to(round);
    reader->begin({&*space, &*forked});
    const auto taken = watch_->take();
    auto read = reader->finish();
    ASSERT_EQ(read.spaces.size(), 2u);
    ASSERT_TRUE(read.spaces.front() && read.spaces.back());
    const DirtyPages& dirty = read.spaces.front()->dirty;
    EXPECT_EQ(page_count(dirty), round == 0 ? kPages / 2 : 1);
    EXPECT_EQ(dirty.written.front().first_page, page_number(round == 0 ? 0 : round));
    EXPECT_EQ(taken.size(), round % kForkEvery == 0 ? 1 : 0);
  }
  kill_grandchildren();
}

/// The pages of a large mapping that are there: many neighbours, then single ones far from each other.
bool is_filled(uint64_t page) { return page < 20'000 || page % 700 == 0; }

/// What the child of LargeSpaces does to a page in a round: it writes, gives back, or lets be.
enum class Deed { none, write, give_back };
Deed deed(uint64_t page, uint64_t round) {
  const uint64_t number = page * 31 + round * 7;
  if (is_filled(page) && number % 997 == 0) return Deed::write;
  if (round == 3 && page >= 4096 && page < 12'000 && page % 2 == 0) return Deed::write;  // more than is looked for one by one
  if (is_filled(page) && number % 997 == 1) return Deed::give_back;
  return page % 35'000 == round ? Deed::write : Deed::none;  // where nothing was
}

TEST(LargeSpaces, WhatIsScannedInStretchesIsWhatWasWritten) {
  constexpr uint64_t kLargePages = 200'000, kRounds = 6;
  auto* memory = static_cast<std::byte*>(::mmap(nullptr, kLargePages * kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  ASSERT_EQ(::madvise(memory, kLargePages * kPageSize, MADV_NOHUGEPAGE), 0);
  {
    Child child([memory](Child::Shared& shared) {
      for (uint64_t page = 0; page < kLargePages; ++page)
        if (is_filled(page)) memory[page * kPageSize] = std::byte(1);
      for (uint64_t round = 1;; ++round) {
        shared.step = round;
        while (shared.faults < round) ::usleep(100);
        for (uint64_t page = 0; page < kLargePages; ++page) {
          if (deed(page, round) == Deed::write) memory[page * kPageSize] = std::byte(round + 1);
          if (deed(page, round) == Deed::give_back) ::madvise(memory + page * kPageSize, kPageSize, MADV_DONTNEED);
        }
      }
    });
    const auto watch = std::move(*ForkWatch::create());
    auto space = begin_tracking(child, *watch);
    ASSERT_TRUE(space) << space.error().message();
    const auto start = reinterpret_cast<uint64_t>(memory);
    ASSERT_TRUE(space->set_ranges({{TrackedRange::Kind::anonymous, start, start + kLargePages * kPageSize, 5, 0}}));
    EXPECT_GT(space->stretches().size(), 2u);
    const auto reader = PageReader::create();
    reader->reserve(30'000);
    for (uint64_t round = 0; round <= kRounds; ++round) {
      if (round != 0) {
        child.shared().faults = round;
        ASSERT_TRUE(child.reaches(round + 1));
      }
      std::map<uint64_t, int> expected, found;
      for (uint64_t page = 0; page < kLargePages; ++page)
        if (round == 0 ? is_filled(page) : deed(page, round) == Deed::write) expected[page] = static_cast<int>(round + 1);
      reader->begin({&*space});
      auto read = reader->finish();
      ASSERT_TRUE(read.spaces.front()) << read.spaces.front().error().message();
      store::Changes changes;
      put_pages(std::move(*read.spaces.front()), changes);
      for (const auto& put : changes.page_operations())
        for (uint64_t page = 0; page < put.count; ++page) found[put.first + page] = static_cast<int>(put.staged[page * kPageSize]);
      ASSERT_EQ(found, expected) << "round " << round;
    }
  }
  ::munmap(memory, kLargePages * kPageSize);
}

TEST(PagePool, GivesOutAgainWhatCameBack) {
  const auto pool = PagePool::create();
  pool->reserve(2 * PagePool::kSlabPages);
  const std::byte* first = nullptr;
  {
    const auto slab = PagePool::take(pool);
    const auto shared = slab;
    first = slab.get();
    EXPECT_NE(PagePool::take(pool).get(), first) << "in use";
  }
  EXPECT_EQ(PagePool::take(pool).get(), first);
  auto longest = PagePool::take(PagePool::create());
  longest[0] = std::byte(1);  // the pool is gone
}

TEST(InodePages, TakesOnlyWhatDiffers) {
  store::testing::ScratchDirectory scratch;
  auto store = store::Store::create(scratch.path() + "/s", {});
  ASSERT_TRUE(store) << store.error().message();
  Fd file(::memfd_create("contents", MFD_CLOEXEC));
  const std::vector<std::byte> page(kPageSize, std::byte{9});
  for (const uint64_t at : {0, 1, 5}) ASSERT_EQ(::pwrite(file.get(), page.data(), kPageSize, static_cast<off_t>(at * kPageSize)), ssize_t{kPageSize});
  InodePages pages(Fd(::dup(file.get())), 3);
  store::Changes first;
  ASSERT_TRUE(pages.take_all(first));
  EXPECT_EQ(first.page_count(), 3u);
  ASSERT_TRUE((*store)->append({.epoch = 1, .realtime_ns = 0, .label = {}, .attributes = {}}, first));
  ASSERT_EQ(::pwrite(file.get(), "x", 1, kPageSize), 1);
  ASSERT_EQ(::fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5 * kPageSize, kPageSize), 0);
  store::Changes second;
  ASSERT_TRUE(pages.take_all(second));
  EXPECT_EQ(second.page_count(), 1u);
  EXPECT_FALSE(pages.hash(5));
  InodePages restored(Fd(::dup(file.get())), 3);
  restored.assume(InodePages::hashes_of(**(*store)->view(1), 3));
  store::Changes since;
  ASSERT_TRUE(restored.take_all(since));
  EXPECT_EQ(since.page_count(), 1u) << "what the store holds is not taken again";
}

}  // namespace
}  // namespace perdure::memory
