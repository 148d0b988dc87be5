// What no system call tells without side effects: transfers under way, timers, undo lists, queues.
#include <gtest/gtest.h>
#include <linux/landlock.h>
#include <linux/userfaultfd.h>
#include <mqueue.h>
#include <sys/ioctl.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/mman.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>

#include <cstring>

#include "posix_child.h"

namespace perdure::posix {
namespace {

uint8_t big_buffer[1 << 20];

/// The progress of a child that sleeps in `write`, which was given `buffers`.
std::optional<uint64_t> progress_of(const Child& child, std::span<const UserBuffer> buffers) {
  wait_until_asleep(child.pid());
  Collector collector = collector_of(child);
  auto table = collector.tasks();
  if (!table) return {};
  auto progress = collector.transferred_bytes(*table->threads.front(), buffers);
  EXPECT_TRUE(progress) << progress.error().message();
  return progress ? *progress : std::nullopt;
}

TEST(CollectorTransfers, AWriteIntoAPipe) {
  Child child([](auto ready) {
    int ends[2];
    ::pipe(ends);
    ready();
    ::write(ends[1], big_buffer, sizeof(big_buffer));
  });
  const UserBuffer buffer{reinterpret_cast<uint64_t>(big_buffer), sizeof(big_buffer)};
  EXPECT_EQ(progress_of(child, std::span(&buffer, 1)), 65536u);
}

TEST(CollectorTransfers, AVectorIntoAPipe) {
  Child child([](auto ready) {
    int ends[2];
    ::pipe(ends);
    ready();
    const iovec vector[3] = {{big_buffer, 1000}, {big_buffer + 5000, 60000}, {big_buffer + 100000, 70000}};
    ::writev(ends[1], vector, 3);
  });
  const uint64_t base = reinterpret_cast<uint64_t>(big_buffer);
  const UserBuffer buffers[3] = {{base, 1000}, {base + 5000, 60000}, {base + 100000, 70000}};
  EXPECT_EQ(progress_of(child, buffers), 65536u);
}

TEST(CollectorTransfers, ASendOnASocket) {
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  Child child([&](auto ready) {
    ready();
    ::send(pair[0], big_buffer, sizeof(big_buffer), 0);
  });
  const UserBuffer buffer{reinterpret_cast<uint64_t>(big_buffer), sizeof(big_buffer)};
  const auto progress = progress_of(child, std::span(&buffer, 1));
  int queued = 0;
  ASSERT_EQ(::ioctl(pair[1], FIONREAD, &queued), 0);
  ASSERT_TRUE(progress);
  EXPECT_EQ(*progress, static_cast<uint64_t>(queued));
  EXPECT_GT(queued, 0);
  ::close(pair[0]);
  ::close(pair[1]);
}

TEST(CollectorTransfers, AWriteOnASocket) {
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  Child child([&](auto ready) {
    ready();
    ::write(pair[0], big_buffer, sizeof(big_buffer));
  });
  const UserBuffer buffer{reinterpret_cast<uint64_t>(big_buffer), sizeof(big_buffer)};
  const auto progress = progress_of(child, std::span(&buffer, 1));
  int queued = 0;
  ASSERT_EQ(::ioctl(pair[1], FIONREAD, &queued), 0);
  EXPECT_EQ(progress, static_cast<uint64_t>(queued));
  ::close(pair[0]);
  ::close(pair[1]);
}

TEST(CollectorTransfers, AReceiveThatWaitsForAll) {
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  ASSERT_EQ(::write(pair[1], "seventeen bytes..", 17), 17);
  Child child([&](auto ready) {
    ready();
    ::recv(pair[0], big_buffer, 5000, MSG_WAITALL);
  });
  const UserBuffer buffer{reinterpret_cast<uint64_t>(big_buffer), 5000};
  EXPECT_EQ(progress_of(child, std::span(&buffer, 1)), 17u);
  ::close(pair[0]);
  ::close(pair[1]);
}

TEST(CollectorTransfers, ASendfileToASocket) {
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  const Fd file(::memfd_create("perdure-test", 0));
  ASSERT_EQ(::write(file.get(), big_buffer, sizeof big_buffer), static_cast<ssize_t>(sizeof big_buffer));
  ASSERT_EQ(::lseek(file.get(), 1000, SEEK_SET), 1000);
  constexpr uint64_t kWanted = sizeof big_buffer - 1000;
  Child child([&](auto ready) {
    ready();
    ::sendfile(pair[0], file.get(), nullptr, kWanted);
  });
  for (int drained = 0; drained < 3; ++drained) {
    wait_until_asleep(child.pid());
    Collector collector = collector_of(child);
    const auto table = collector.tasks();
    ASSERT_TRUE(table);
    const ThreadRecord& thread = *table->threads.front();
    EXPECT_EQ(thread.file_wait.source_position, 1000u) << "the file learns of it when the call is over";
    const auto sent = collector.spliced_bytes(thread, kWanted, 1000);
    ASSERT_TRUE(sent);
    int queued = 0;
    ASSERT_EQ(::ioctl(pair[1], FIONREAD, &queued), 0);
    static uint64_t taken = 0;
    EXPECT_EQ(*sent, taken + static_cast<uint64_t>(queued));
    std::vector<char> bytes(200'000);
    ASSERT_EQ(::recv(pair[1], bytes.data(), bytes.size(), MSG_WAITALL), static_cast<ssize_t>(bytes.size()));
    taken += bytes.size();
    ::usleep(10'000);
  }
  ::close(pair[0]);
  ::close(pair[1]);
}

TEST(CollectorTransfers, WhatIsLeftOfASocketsTimeout) {
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  Child child([&](auto ready) {
    const timeval timeout{30, 0};
    ::setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    ready();
    char byte;
    ::read(pair[0], &byte, 1);
  });
  wait_until_asleep(child.pid());
  Collector collector = collector_of(child);
  const auto remaining_ns = [&] { return *collector.remaining_wait_ns(*collector.tasks()->threads.front()); };
  const int64_t first_ns = remaining_ns();
  EXPECT_GT(first_ns, 20'000'000'000);
  EXPECT_LE(first_ns, 30'100'000'000);
  ::usleep(200'000);
  const int64_t then_ns = remaining_ns();
  EXPECT_GE(first_ns - then_ns, 190'000'000);
  ::close(pair[0]);
  ::close(pair[1]);
}

TEST(CollectorTransfers, NoneInAnotherCall) {
  Child child([](auto ready) { ready(); });
  const UserBuffer buffer{reinterpret_cast<uint64_t>(big_buffer), sizeof(big_buffer)};
  EXPECT_EQ(progress_of(child, std::span(&buffer, 1)), std::nullopt);
}

TEST(CollectorContents, PosixTimers) {
  Child child([](auto ready) {
    sigevent event{};
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGRTMIN + 1;
    event.sigev_value.sival_int = 4711;
    timer_t timer;
    ::syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer);
    itimerspec spec{{1, 0}, {200, 0}};
    ::syscall(SYS_timer_settime, timer, 0, &spec, nullptr);
    event.sigev_notify = SIGEV_NONE;
    ::syscall(SYS_timer_create, CLOCK_REALTIME, &event, &timer);
    event.sigev_notify = SIGEV_SIGNAL;
    ::syscall(SYS_timer_create, CLOCK_PROCESS_CPUTIME_ID, &event, &timer);
    spec = {{0, 0}, {1000, 0}};
    ::syscall(SYS_timer_settime, timer, 0, &spec, nullptr);
    ready();
  });
  Collector collector = collector_of(child);
  auto table = collector.tasks();
  ASSERT_TRUE(table) << table.error().message();
  const ThreadBrief& thread = table->threads.front()->brief;
  EXPECT_NE(table->processes.find(thread.signal)->has_posix_timers, 0u);
  auto timers = table->posix_timers.of(thread.signal);
  ASSERT_EQ(timers.size(), 3u);
  for (const PosixTimerRecord* timer : timers) {
    EXPECT_EQ(timer->thread, 1u);
    if (timer->clock == CLOCK_MONOTONIC) {
      EXPECT_EQ(timer->active, 1u);
      EXPECT_EQ(timer->signal_number, static_cast<uint32_t>(SIGRTMIN + 1));
      EXPECT_EQ(static_cast<int>(timer->value), 4711);
      EXPECT_EQ(timer->interval_ns, 1'000'000'000u);
      EXPECT_GT(timer->remaining_ns, 198'000'000'000);
      EXPECT_LE(timer->remaining_ns, 200'000'000'000);
    } else if (timer->clock == CLOCK_REALTIME) {
      EXPECT_EQ(timer->notify, static_cast<uint32_t>(SIGEV_NONE));
      EXPECT_EQ(timer->active, 0u);
    } else {
      EXPECT_GE(timer->cpu_expires_ns, 1000'000'000'000u);
    }
  }
}

TEST(CollectorContents, SemaphoreUndo) {
  const int set = ::semget(IPC_PRIVATE, 5, 0600);
  ASSERT_GE(set, 0);
  Child child([&](auto ready) {
    sembuf operations[2] = {{1, 3, SEM_UNDO}, {4, 7, SEM_UNDO}};
    ::semop(set, operations, 2);
    ready();
  });
  Collector collector = collector_of(child);
  auto table = collector.tasks();
  ASSERT_TRUE(table) << table.error().message();
  auto undos = table->semaphore_undos.of(table->threads.front()->semaphore_undo);
  ASSERT_EQ(undos.size(), 1u);
  EXPECT_EQ(undos[0]->set, set);
  const auto values = adjustments(*undos[0]);
  EXPECT_EQ(std::vector<int16_t>(values.begin(), values.end()), (std::vector<int16_t>{0, -3, 0, 0, -7}));
  ::semctl(set, 0, IPC_RMID);
}

TEST(CollectorContents, AUserfaultfdNamesItsAddressSpace) {
  const Fd watch(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC)));
  ASSERT_TRUE(watch);
  uffdio_api api{.api = UFFD_API, .features = UFFD_FEATURE_EVENT_FORK, .ioctls = 0};
  ASSERT_EQ(::ioctl(watch.get(), UFFDIO_API, &api), 0);
  auto collector = Collector::create();
  ASSERT_TRUE(collector);
  void* memory = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  uffdio_register request{};
  request.range = {reinterpret_cast<uint64_t>(memory), 4096};
  request.mode = UFFDIO_REGISTER_MODE_WP;
  ASSERT_EQ(::ioctl(watch.get(), UFFDIO_REGISTER, &request), 0);
  const auto watched = collector->userfaultfd(watch.get());
  ASSERT_TRUE(watched) << watched.error().message();
  EXPECT_NE(watched->context, 0u);
  struct stat own {};
  ASSERT_EQ(::stat("/proc/self/ns/pid", &own), 0);
  ASSERT_TRUE(collector->select_pid_namespace(static_cast<uint32_t>(own.st_ino)));
  auto threads = collector->tasks_brief();
  ASSERT_TRUE(threads);
  for (const ThreadBrief& thread : *threads)
    if (thread.host_tid == static_cast<uint32_t>(::gettid())) { EXPECT_EQ(thread.mm, watched->mm); }
  const auto mappings = collector->mappings(::getpid());
  ASSERT_TRUE(mappings);
  for (const MappingRecord& mapping : *mappings)
    EXPECT_EQ(mapping.userfaultfd_context, mapping.start == request.range.start ? watched->context : 0) << std::hex << mapping.start;
  ::munmap(memory, 4096);
  EXPECT_FALSE(collector->userfaultfd(0));
  EXPECT_FALSE(collector->userfaultfd(9999));
}

const SocketRecord* socket_by_number(const FileTable& table, int number) {
  for (const FileRecord* file : table.files)
    if (file->descriptor == number) return table.sockets.find(file->file);
  return nullptr;
}

std::string text_of(const SocketMessageRecord& message) {
  const auto bytes = message_bytes(message);
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

TEST(CollectorContents, ASocketsQueueWithDescriptorsAndCredentials) {
  std::string large(150000, '\0');
  for (size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i * 7 + i / 4096);
  Child child([&](auto ready) {
    int pair[2];
    ::socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
    ::dup2(pair[0], 100);
    ::dup2(pair[1], 101);
    const int on = 1;
    ::setsockopt(100, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
    const int sent[2] = {::eventfd(42, 0), ::open("/etc/passwd", O_RDONLY)};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(sent))]{};
    iovec data{const_cast<char*>("with files"), 10};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(sent));
    std::memcpy(CMSG_DATA(header), sent, sizeof(sent));
    if (::sendmsg(101, &message, 0) != 10 || ::send(101, "", 0, 0) != 0 || ::send(101, large.data(), large.size(), 0) < 0) ::_exit(1);
    ready();
  });
  Collector collector = collector_of(child);
  auto table = collector.files(child.pid());
  ASSERT_TRUE(table);
  const SocketRecord* receiver = socket_by_number(*table, 100);
  ASSERT_NE(receiver, nullptr);
  auto queue = collector.socket_queue(receiver->sock);
  ASSERT_TRUE(queue) << queue.error().message();
  ASSERT_EQ(queue->messages.size(), 3u);
  EXPECT_EQ(text_of(*queue->messages[0]), "with files");
  EXPECT_EQ(text_of(*queue->messages[1]), "");
  EXPECT_TRUE(text_of(*queue->messages[2]) == large);
  EXPECT_EQ(queue->messages[0]->sender, socket_by_number(*table, 101)->sock);
  EXPECT_EQ(queue->messages[0]->sender_pid, 1u);
  EXPECT_EQ(queue->messages[0]->sender_uid, 0u);
  ASSERT_EQ(queue->messages[0]->file_count, 2u);
  ASSERT_EQ(queue->files.files.size(), 2u);
  const FileRecord* event = queue->files.files[0];
  EXPECT_EQ(event->descriptor, -1);
  EXPECT_EQ(event->message, queue->messages[0]->buffer);
  ASSERT_NE(queue->files.eventfds.find(event->file), nullptr);
  EXPECT_EQ(queue->files.eventfds.find(event->file)->count, 42u);
  EXPECT_EQ(queue->files.files[1]->descriptor, -2);
  EXPECT_STREQ(queue->files.files[1]->name, "passwd");
}

TEST(CollectorContents, AStreamThatIsPartlyRead) {
  std::string large(100000, 'x');
  for (size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i % 251);
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  Child child([&](auto ready) { ready(); });
  ASSERT_EQ(::write(pair[1], large.data(), large.size()), static_cast<ssize_t>(large.size()));
  std::string start(1000, 0);
  ASSERT_EQ(::read(pair[0], start.data(), start.size()), 1000);
  Collector collector = collector_of(child);
  auto table = collector.files(child.pid());
  ASSERT_TRUE(table);
  auto queue = collector.socket_queue(socket_by_number(*table, pair[0])->sock);
  ASSERT_TRUE(queue) << queue.error().message();
  std::string unread;
  for (const SocketMessageRecord* message : queue->messages) unread += text_of(*message).substr(message->consumed);
  EXPECT_TRUE(unread == large.substr(1000));
  EXPECT_EQ(socket_by_number(*table, pair[0])->receive_queue_bytes, unread.size());
  ::close(pair[0]);
  ::close(pair[1]);
}

TEST(CollectorContents, AConnectionThatWaitsToBeAccepted) {
  Child child([&](auto ready) {
    const int listener = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un name{AF_UNIX, {}};
    std::memcpy(name.sun_path, "\0perdure-accept", 15);
    ::bind(listener, reinterpret_cast<sockaddr*>(&name), 2 + 15);
    ::listen(listener, 12);
    ::dup2(listener, 100);
    for (int i = 0; i < 2; ++i) {
      const int caller = ::socket(AF_UNIX, SOCK_STREAM, 0);
      ::connect(caller, reinterpret_cast<sockaddr*>(&name), 2 + 15);
      if (::write(caller, i ? "second" : "first", i ? 6 : 5) < 0) ::_exit(1);
      ::dup2(caller, 101 + i);
    }
    ready();
  });
  Collector collector = collector_of(child);
  auto table = collector.files(child.pid());
  ASSERT_TRUE(table);
  auto queue = collector.socket_queue(socket_by_number(*table, 100)->sock);
  ASSERT_TRUE(queue) << queue.error().message();
  ASSERT_EQ(queue->messages.size(), 2u);
  for (int i = 0; i < 2; ++i) {
    const SocketRecord* connection = queue->files.waiting_connections.find(queue->messages[i]->connection);
    ASSERT_NE(connection, nullptr);
    EXPECT_EQ(connection->unix_peer, socket_by_number(*table, 101 + i)->sock);
    auto inner = collector.socket_queue(connection->sock);
    ASSERT_TRUE(inner) << inner.error().message();
    ASSERT_EQ(inner->messages.size(), 1u);
    EXPECT_EQ(text_of(*inner->messages[0]), i ? "second" : "first");
  }
}

TEST(CollectorContents, OfSomethingElseIsAnError) {
  Child child([&](auto ready) { ready(); });
  Collector collector = collector_of(child);
  EXPECT_FALSE(collector.socket_queue(0));
  EXPECT_FALSE(collector.message_queue(0));
}

TEST(CollectorContents, APosixMessageQueue) {
  const std::string name = "/perdure-test-" + std::to_string(::getpid());
  std::string large(8000, 'q');
  for (size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i % 253);
  mq_attr attributes{};
  attributes.mq_maxmsg = 8;
  attributes.mq_msgsize = 8000;
  const mqd_t queue = ::mq_open(name.c_str(), O_CREAT | O_RDWR, 0600, &attributes);
  ASSERT_GE(queue, 0);
  ::mq_unlink(name.c_str());
  ASSERT_EQ(::mq_send(queue, "low", 3, 1), 0);
  ASSERT_EQ(::mq_send(queue, large.data(), large.size(), 9), 0);
  ASSERT_EQ(::mq_send(queue, "low too", 7, 1), 0);
  ASSERT_EQ(::mq_send(queue, "high too", 8, 9), 0);
  ASSERT_EQ(::mq_send(queue, "middle", 6, 5), 0);
  Child child([&](auto ready) { ready(); });
  Collector collector = collector_of(child);
  auto table = collector.files(child.pid());
  ASSERT_TRUE(table);
  for (const FileRecord* file : table->files) {
    if (file->descriptor != queue) continue;
    auto read = collector.message_queue(file->inode);
    ASSERT_TRUE(read) << read.error().message();
    ASSERT_NE(read->queue, nullptr);
    EXPECT_EQ(read->queue->message_limit, 8u);
    EXPECT_EQ(read->queue->message_size_limit, 8000u);
    ASSERT_EQ(read->messages.size(), 5u);
    std::vector<char> received(8000);
    for (const QueuedMessageRecord* message : read->messages) {
      unsigned priority = 0;
      const ssize_t size = ::mq_receive(queue, received.data(), received.size(), &priority);
      ASSERT_EQ(message->length, static_cast<uint32_t>(size));
      EXPECT_EQ(message->priority, priority);
      EXPECT_EQ(std::memcmp(message_bytes(*message).data(), received.data(), message->length), 0);
    }
  }
  ::mq_close(queue);
}

TEST(CollectorContents, WhoIsLandlocked) {
  if (::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION) <= 0) GTEST_SKIP() << "no Landlock here";
  Child child([&](auto ready) {
    if (::fork() == 0) {
      const landlock_ruleset_attr attributes{.handled_access_fs = LANDLOCK_ACCESS_FS_EXECUTE};
      const int ruleset = static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes), 0));
      ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
      if (::syscall(SYS_landlock_restrict_self, ruleset, 0) != 0) ::_exit(1);
      ready();
      for (;;) ::pause();
    }
  });
  Collector collector = collector_of(child);
  auto table = collector.tasks();
  ASSERT_TRUE(table);
  ASSERT_EQ(table->threads.size(), 2u);
  for (const ThreadRecord* thread : table->threads) {
    auto landlocked = collector.is_landlocked(*table->credentials.find(thread->brief.credentials));
    ASSERT_TRUE(landlocked) << landlocked.error().message();
    EXPECT_EQ(*landlocked, thread->brief.tid == 2);
  }
}

TEST(CollectorContents, HowAnInterruptedSleepGoesOn) {
  Child child([&](auto ready) {
    ready();
    timespec duration{100, 0};
    ::nanosleep(&duration, nullptr);
  });
  Collector collector = collector_of(child);
  wait_until_asleep(child.pid());
  EXPECT_EQ(*collector.restart_function(*collector.tasks()->threads.front()), RestartFunction::none);
  ASSERT_EQ(::ptrace(PTRACE_SEIZE, child.pid(), 0, 0), 0);
  ASSERT_EQ(::ptrace(PTRACE_INTERRUPT, child.pid(), 0, 0), 0);
  ASSERT_EQ(::waitpid(child.pid(), nullptr, __WALL), child.pid());
  auto table = collector.tasks();
  ASSERT_TRUE(table);
  EXPECT_EQ(*collector.restart_function(*table->threads.front()), RestartFunction::nanosleep);
  EXPECT_EQ(static_cast<int64_t>(table->threads.front()->registers.ax), -516);
  EXPECT_EQ(::ptrace(PTRACE_DETACH, child.pid(), 0, 0), 0);
}

struct Owned {
  uint64_t owner, identity;
};

TEST(CollectorRecords, RepetitionsOfAnObjectAreDropped) {
  const Owned told[] = {{2, 10}, {2, 11}, {1, 5}, {2, 10}, {2, 11}, {1, 5}, {1, 5}, {3, 1}};
  OwnedRecords<Owned, &Owned::owner, &Owned::identity> records;
  for (const Owned& record : told) records.add(record);
  records.seal();
  EXPECT_EQ(records.size(), 4u);
  ASSERT_EQ(records.of(2).size(), 2u);
  EXPECT_EQ(records.of(2)[1]->identity, 11u);
  EXPECT_EQ(records.of(1).size(), 1u);
  EXPECT_EQ(records.of(4).size(), 0u);
}

}  // namespace
}  // namespace perdure::posix
