// What the collector says of mappings and open files, against /proc.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <sstream>

#include "posix_child.h"

namespace perdure::posix {
namespace {

constexpr uint64_t kVmRead = 1, kVmWrite = 2, kVmExec = 4, kVmShared = 8;

TEST(CollectorMappings, EqualProcMaps) {
  Child child([](auto ready) {
    ::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ::mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ready();
  });
  Collector collector = collector_of(child);
  auto mappings = collector.mappings(child.pid());
  ASSERT_TRUE(mappings) << mappings.error().message();
  std::ifstream maps(child.proc("maps"));
  size_t index = 0;
  for (std::string line; std::getline(maps, line);) {
    if (line.find("[vsyscall]") != std::string::npos) continue;
    ASSERT_LT(index, mappings->size());
    const MappingRecord& mapping = (*mappings)[index++];
    uint64_t start, end, offset, inode;
    unsigned major, minor;
    char access[5], name[256] = "";
    ASSERT_GE(std::sscanf(line.c_str(), "%lx-%lx %4s %lx %x:%x %lu %255s", &start, &end, access, &offset, &major, &minor, &inode, name), 7);
    EXPECT_EQ(mapping.start, start) << line;
    EXPECT_EQ(mapping.end, end) << line;
    EXPECT_EQ((mapping.flags & kVmRead) != 0, access[0] == 'r') << line;
    EXPECT_EQ((mapping.flags & kVmWrite) != 0, access[1] == 'w') << line;
    EXPECT_EQ((mapping.flags & kVmExec) != 0, access[2] == 'x') << line;
    EXPECT_EQ((mapping.flags & kVmShared) != 0, access[3] == 's') << line;
    EXPECT_EQ(mapping.inode_number, inode) << line;
    EXPECT_EQ(mapping.file != 0, inode != 0) << line;
    if (inode != 0) {
      EXPECT_EQ(mapping.page_offset * 4096, offset) << line;
      EXPECT_EQ(mapping.device, major << 20 | minor) << line;
    }
    const std::string shown = name;
    const bool special = shown == "[vdso]" || shown.starts_with("[vvar");
    EXPECT_EQ(mapping.is_special != 0, special) << line;
    if (special) { EXPECT_EQ(shown, mapping.name); }
  }
  EXPECT_EQ(index, mappings->size());
}

TEST(CollectorMappings, AreTheSameWhereTasksCannotBeLookedUp) {
  Child child([](auto ready) { ready(); });
  auto searching = Collector::create(TaskLookup::by_search);
  ASSERT_TRUE(searching) << searching.error().message();
  auto found = searching->mappings(child.pid());
  ASSERT_TRUE(found) << found.error().message();
  auto expected = collector_of(child).mappings(child.pid());
  ASSERT_TRUE(expected);
  ASSERT_EQ(found->size(), expected->size());
  EXPECT_EQ(std::memcmp(found->data(), expected->data(), found->size() * sizeof(MappingRecord)), 0);
  EXPECT_FALSE(searching->mappings(1 << 21));
}

TEST(CollectorMappings, OfNoProcessIsAnError) {
  Child child([](auto ready) { ready(); });
  Collector collector = collector_of(child);
  auto mappings = collector.mappings(1 << 21);
  ASSERT_FALSE(mappings);
  EXPECT_EQ(mappings.error().error_number, ESRCH);
}

TEST(CollectorMappings, OwnPagesAreCountedExactly) {
  constexpr size_t kPages = 1000;
  Child child([](const auto& ready) {
    // Each step is within what a processor keeps to itself before it adds it to the common count.
    auto* memory = static_cast<char*>(::mmap(nullptr, kPages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ::madvise(memory, kPages * 4096, MADV_NOHUGEPAGE);
    for (size_t page = 0; page < kPages; ++page) memory[page * 4096] = 1;
    ::madvise(memory, 7 * 4096, MADV_DONTNEED);
    ready();
    for (;;) ::pause();
  });
  wait_until_asleep(child.pid());
  uint64_t anonymous = 0;
  std::ifstream rollup(child.proc("smaps_rollup"));
  for (std::string word; rollup >> word;)
    if (word == "Anonymous:") rollup >> anonymous;
  auto collector = collector_of(child);
  const auto tasks = collector.tasks();
  ASSERT_TRUE(tasks);
  const auto* space = tasks->address_spaces.find(tasks->threads.front()->brief.mm);
  ASSERT_NE(space, nullptr);
  EXPECT_GT(anonymous / 4, kPages - 7);
  EXPECT_EQ(space->own_pages, anonymous / 4);
}

TEST(CollectorMappings, NoneIsLeftOutWhileItIsBeingChanged) {
  constexpr size_t kBytes = 64 * 4096;
  auto* memory = static_cast<char*>(::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  // Neighbours that it never merges with: it stays one mapping.
  ::mprotect(memory, 4096, PROT_NONE);
  ::mprotect(memory + kBytes - 4096, 4096, PROT_NONE);
  Child child([memory](const auto& ready) {
    ready();
    for (int protection = PROT_READ;; protection ^= PROT_WRITE) ::mprotect(memory + 4096, kBytes - 2 * 4096, protection);
  });
  auto collector = collector_of(child);
  const auto start = reinterpret_cast<uint64_t>(memory) + 4096;
  int readings = 0;
  for (int tries = 0; tries < 300; ++tries) {
    const auto mappings = collector.mappings(child.pid());
    if (!mappings && mappings.error().error_number == EBUSY) continue;
    ASSERT_TRUE(mappings) << mappings.error().message();
    ASSERT_TRUE(std::ranges::any_of(*mappings, [&](const auto& mapping) { return mapping.start == start; })) << tries;
    ++readings;
  }
  EXPECT_GT(readings, 0);
  ::munmap(memory, kBytes);
}

TEST(CollectorMappings, TheSequenceMovesWithThem) {
  Child child([](auto ready) {
    ::signal(SIGUSR1, [](int) {});
    ready();
    ::pause();
    ::mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (;;) ::pause();
  });
  Collector collector = collector_of(child);
  const uint32_t before = collector.tasks_brief()->front().mm_lock_seq;
  wait_until_asleep(child.pid());
  ::kill(child.pid(), SIGUSR1);
  ::usleep(50000);
  const uint32_t after = collector.tasks_brief()->front().mm_lock_seq;
  EXPECT_NE(before, after);
  EXPECT_EQ(after, collector.tasks_brief()->front().mm_lock_seq);
}

TEST(CollectorFiles, EqualProcFdinfo) {
  Child child([](auto ready) {
    const int file = ::open("/etc/passwd", O_RDONLY | O_CLOEXEC);
    ::lseek(file, 17, SEEK_SET);
    ::dup(file);
    ::dup2(file, 200);
    ::open("/dev/null", O_WRONLY | O_APPEND);
    ready();
  });
  Collector collector = collector_of(child);
  auto table = collector.files(child.pid());
  ASSERT_TRUE(table) << table.error().message();
  size_t shared = 0;
  for (const FileRecord* file : table->files) {
    std::ifstream information(child.proc("fdinfo/" + std::to_string(file->descriptor)));
    ASSERT_TRUE(information) << file->descriptor;
    std::string key;
    int64_t position;
    unsigned flags;
    information >> key >> position >> key >> std::oct >> flags;
    EXPECT_EQ(file->position, position) << file->descriptor;
    EXPECT_EQ(file->flags | (file->close_on_exec ? O_CLOEXEC : 0), flags) << file->descriptor;
    struct stat status {};
    ::stat(child.proc("fd/" + std::to_string(file->descriptor)).c_str(), &status);
    EXPECT_EQ(file->inode_number, status.st_ino);
    EXPECT_EQ(file->inode_mode, status.st_mode);
    EXPECT_EQ(file->mtime_ns, status.st_mtim.tv_sec * 1000000000 + status.st_mtim.tv_nsec);
    if (file->position == 17) {
      ++shared;
      EXPECT_STREQ(file->name, "passwd");
      EXPECT_EQ(file->size, status.st_size);
      EXPECT_EQ(file->close_on_exec != 0, file->descriptor != 200 && (flags & O_CLOEXEC) != 0);
    }
  }
  EXPECT_EQ(shared, 3u);
}

}  // namespace
}  // namespace perdure::posix
