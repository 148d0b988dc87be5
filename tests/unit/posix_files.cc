// What the collector says of each kind of open file.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <pty.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>

#include <cstring>

#include "posix/directory_watch.h"
#include "posix_child.h"

namespace perdure::posix {
namespace {

/// The files of a child that runs `body`; descriptors are told apart by number.
FileTable files_of(const Child& child) {
  Collector collector = collector_of(child);
  auto table = collector.files(child.pid());
  if (!table) ADD_FAILURE() << table.error().message();
  return table ? std::move(*table) : FileTable{};
}

const FileRecord* by_number(const FileTable& table, int number) {
  for (const FileRecord* file : table.files)
    if (file->descriptor == number) return file;
  ADD_FAILURE() << "no descriptor " << number;
  return nullptr;
}

TEST(CollectorFileKinds, PipeHoldsBuffersInOrder) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_NONBLOCK), 0);
  Child child([&](auto ready) {
    int packets[2];
    ::pipe2(packets, O_DIRECT);
    ::dup2(packets[0], 100);
    ::dup2(packets[1], 101);
    if (::write(101, "one", 3) != 3 || ::write(101, "three", 5) != 5) ::_exit(1);
    ready();
  });
  FileTable table = files_of(child);
  const FileRecord* reader = by_number(table, 100);
  EXPECT_EQ(reader->kind, static_cast<uint32_t>(kPipeFile));
  EXPECT_EQ(reader->inode, by_number(table, 101)->inode);
  const PipeRecord* pipe = table.pipes.find(reader->inode);
  ASSERT_NE(pipe, nullptr);
  EXPECT_EQ(pipe->head - pipe->tail, 2u);
  EXPECT_EQ(pipe->ring_size, 16u);
  auto buffers = table.pipe_buffers.of(reader->inode);
  ASSERT_EQ(buffers.size(), 2u);
  EXPECT_EQ(buffers[0]->length, 3u);
  EXPECT_EQ(buffers[1]->length, 5u);
  EXPECT_EQ(buffers[0]->flags & 8, 8u);
  EXPECT_EQ(table.pipes.find(by_number(table, ends[0])->inode)->readers, 1u);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(CollectorFileKinds, EventDescriptors) {
  Child child([&](auto ready) {
    ::dup2(::eventfd(7, EFD_SEMAPHORE), 100);
    const int timer = ::timerfd_create(CLOCK_MONOTONIC, 0);
    itimerspec spec{{2, 5}, {100, 0}};
    ::timerfd_settime(timer, 0, &spec, nullptr);
    ::dup2(timer, 101);
    const int alarm = ::timerfd_create(CLOCK_BOOTTIME_ALARM, 0);
    spec = {{0, 0}, {50, 0}};
    ::timerfd_settime(alarm, 0, &spec, nullptr);
    ::dup2(alarm, 102);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGTERM);
    ::dup2(::signalfd(-1, &set, 0), 103);
    ::dup2(static_cast<int>(::syscall(SYS_pidfd_open, 1, 0)), 104);
    const int notify = ::inotify_init1(0);
    ::inotify_add_watch(notify, "/tmp", IN_CREATE);
    ::inotify_add_watch(notify, "/", IN_CREATE);
    ::dup2(notify, 105);
    const int real = ::timerfd_create(CLOCK_REALTIME, 0);
    spec = {{0, 0}, {time(nullptr) + 1000, 0}};
    ::timerfd_settime(real, TFD_TIMER_ABSTIME, &spec, nullptr);
    ::dup2(real, 106);
    ready();
  });
  FileTable table = files_of(child);
  const EventfdRecord* event = table.eventfds.find(by_number(table, 100)->file);
  ASSERT_NE(event, nullptr);
  EXPECT_EQ(event->count, 7u);
  EXPECT_EQ(event->flags & EFD_SEMAPHORE, static_cast<uint32_t>(EFD_SEMAPHORE));
  const TimerfdRecord* timer = table.timerfds.find(by_number(table, 101)->file);
  ASSERT_NE(timer, nullptr);
  EXPECT_EQ(timer->active, 1u);
  EXPECT_EQ(timer->clock, static_cast<uint32_t>(CLOCK_MONOTONIC));
  EXPECT_EQ(timer->interval_ns, 2'000'000'005u);
  EXPECT_GT(timer->remaining_ns, 98'000'000'000);
  EXPECT_LE(timer->remaining_ns, 100'000'000'000);
  const TimerfdRecord* alarm = table.timerfds.find(by_number(table, 102)->file);
  ASSERT_NE(alarm, nullptr);
  EXPECT_GT(alarm->remaining_ns, 48'000'000'000);
  EXPECT_LE(alarm->remaining_ns, 50'000'000'000);
  const TimerfdRecord* real = table.timerfds.find(by_number(table, 106)->file);
  ASSERT_NE(real, nullptr);
  EXPECT_GT(real->remaining_ns, 997'000'000'000);
  EXPECT_LE(real->remaining_ns, 1000'000'000'000);
  EXPECT_EQ(real->settime_flags & 1, 1u);
  EXPECT_EQ(table.signalfds.find(by_number(table, 103)->file)->accepted, 1ull << (SIGUSR1 - 1) | 1ull << (SIGTERM - 1));
  const PidfdRecord* pidfd = table.pidfds.find(by_number(table, 104)->file);
  ASSERT_NE(pidfd, nullptr);
  EXPECT_EQ(pidfd->pid, 1u);
  EXPECT_EQ(pidfd->host_pid, static_cast<uint32_t>(child.pid()));
  const InotifyRecord* notify = table.inotifies.find(by_number(table, 105)->file);
  ASSERT_NE(notify, nullptr);
  EXPECT_EQ(notify->mark_count, 2u);
  EXPECT_EQ(notify->next_watch, 3u);
}

TEST(CollectorFileKinds, EpollItems) {
  constexpr int kItems = 300;
  Child child([&](auto ready) {
    const int epoll = ::epoll_create1(0);
    for (int i = 0; i < kItems; ++i) {
      epoll_event event{};
      event.events = i % 2 ? EPOLLIN | EPOLLET : EPOLLIN;
      event.data.u64 = 1000u + static_cast<unsigned>(i);
      ::epoll_ctl(epoll, EPOLL_CTL_ADD, ::eventfd(i == 5, 0), &event);
    }
    ::dup2(epoll, 1000);
    ready();
  });
  FileTable table = files_of(child);
  const FileRecord* epoll = by_number(table, 1000);
  ASSERT_NE(table.epolls.find(epoll->file), nullptr);
  auto items = table.epoll_items.of(epoll->file);
  ASSERT_EQ(items.size(), static_cast<size_t>(kItems));
  std::vector<bool> seen(kItems);
  for (const EpollItemRecord* item : items) {
    const size_t index = item->data - 1000;
    ASSERT_LT(index, seen.size());
    EXPECT_FALSE(seen[index]);
    seen[index] = true;
    EXPECT_EQ(item->file, by_number(table, item->descriptor)->file);
    EXPECT_EQ((item->events & EPOLLET) != 0, index % 2 == 1);
    EXPECT_EQ(item->is_ready != 0, index == 5);
  }
}

TEST(CollectorFileKinds, UnixSockets) {
  Child child([&](auto ready) {
    int pair[2];
    ::socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    ::dup2(pair[0], 100);
    ::dup2(pair[1], 101);
    char byte;
    if (::write(100, "hello", 5) != 5 || ::read(101, &byte, 1) != 1 || ::write(100, "world", 5) != 5) ::_exit(1);
    ::shutdown(100, SHUT_WR);
    const int listener = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un name{AF_UNIX, {}};
    std::memcpy(name.sun_path, "\0perdure-test", 13);
    ::bind(listener, reinterpret_cast<sockaddr*>(&name), 2 + 13);
    ::listen(listener, 12);
    ::dup2(listener, 102);
    const int caller = ::socket(AF_UNIX, SOCK_STREAM, 0);
    ::connect(caller, reinterpret_cast<sockaddr*>(&name), 2 + 13);
    ::dup2(caller, 103);
    ready();
  });
  FileTable table = files_of(child);
  const SocketRecord* writer = table.sockets.find(by_number(table, 100)->file);
  const SocketRecord* reader = table.sockets.find(by_number(table, 101)->file);
  ASSERT_NE(writer, nullptr);
  ASSERT_NE(reader, nullptr);
  EXPECT_EQ(writer->family, static_cast<uint32_t>(AF_UNIX));
  EXPECT_EQ(writer->type, static_cast<uint32_t>(SOCK_STREAM));
  EXPECT_EQ(writer->unix_peer, reader->sock);
  EXPECT_EQ(reader->unix_peer, writer->sock);
  EXPECT_EQ(reader->receive_queue_bytes, 9u);
  EXPECT_EQ(reader->receive_queue_length, 2u);
  EXPECT_EQ(writer->shutdown, 2u);
  EXPECT_EQ(writer->peer_pid, 1u);
  EXPECT_EQ(writer->inode, by_number(table, 100)->inode);
  const SocketRecord* listener = table.sockets.find(by_number(table, 102)->file);
  EXPECT_EQ(listener->state, 10u);
  EXPECT_EQ(listener->accept_queue_limit, 12u);
  EXPECT_EQ(listener->receive_queue_length, 1u);
  EXPECT_EQ(listener->unix_name_length, 15u);
  EXPECT_EQ(std::memcmp(listener->unix_name + 2, "\0perdure-test", 13), 0);
}

TEST(CollectorFileKinds, InetSockets) {
  Child child([&](auto ready) {
    const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    ::bind(listener, reinterpret_cast<sockaddr*>(&address), size);
    ::listen(listener, 5);
    ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
    const int client = ::socket(AF_INET, SOCK_STREAM, 0);
    ::connect(client, reinterpret_cast<sockaddr*>(&address), size);
    const int server = ::accept(listener, nullptr, nullptr);
    if (::write(client, "12345", 5) != 5) ::_exit(1);
    ::dup2(listener, 100);
    ::dup2(client, 101);
    ::dup2(server, 102);
    ready();
  });
  FileTable table = files_of(child);
  const SocketRecord* listener = table.sockets.find(by_number(table, 100)->file);
  const SocketRecord* client = table.sockets.find(by_number(table, 101)->file);
  const SocketRecord* server = table.sockets.find(by_number(table, 102)->file);
  ASSERT_TRUE(listener && client && server);
  EXPECT_EQ(listener->state, 10u);
  EXPECT_EQ(client->state, 1u);
  EXPECT_EQ(client->remote_port, listener->local_port);
  EXPECT_EQ(server->remote_port, client->local_port);
  const uint8_t loopback[4] = {127, 0, 0, 1};
  EXPECT_EQ(std::memcmp(client->remote_address, loopback, 4), 0);
  EXPECT_EQ(server->tcp_rcv_nxt - server->tcp_copied_seq, 5u);
  EXPECT_EQ(client->tcp_write_seq, server->tcp_rcv_nxt);
}

TEST(CollectorFileKinds, SealsLocksAndTerminals) {
  int terminal = -1, slave = -1;
  ASSERT_EQ(::openpty(&terminal, &slave, nullptr, nullptr, nullptr), 0);
  Child child([&](auto ready) {
    const int memory = ::memfd_create("sealed", MFD_ALLOW_SEALING);
    ::fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
    ::dup2(memory, 100);
    char path[] = "/tmp/perdure-lock-XXXXXX";
    const int file = ::mkstemp(path);
    ::unlink(path);
    ::dup2(file, 101);
    struct flock range {};
    range.l_type = F_WRLCK;
    range.l_whence = SEEK_SET;
    range.l_start = 10;
    range.l_len = 20;
    ::fcntl(101, F_SETLK, &range);
    range.l_start = 100;
    range.l_type = F_WRLCK;
    ::fcntl(101, F_OFD_SETLK, &range);
    ::flock(101, LOCK_EX);
    ::dup2(terminal, 102);
    ::dup2(slave, 103);
    ready();
  });
  FileTable table = files_of(child);
  EXPECT_EQ(by_number(table, 100)->seals, static_cast<uint32_t>(F_SEAL_SHRINK | F_SEAL_GROW));
  EXPECT_EQ(std::string(by_number(table, 100)->name), "memfd:sealed");
  const FileRecord* file = by_number(table, 101);
  auto locks = table.locks.of(file->inode);
  ASSERT_EQ(locks.size(), 3u);
  EXPECT_EQ(locks[0]->kind, static_cast<uint32_t>(kPosixLock));
  EXPECT_EQ(locks[0]->start, 10);
  EXPECT_EQ(locks[0]->end, 29);
  EXPECT_EQ(locks[1]->kind, static_cast<uint32_t>(kPosixLock));
  EXPECT_EQ(locks[1]->flags & 0x400, 0x400u);
  EXPECT_EQ(locks[1]->owner, file->file);
  EXPECT_EQ(locks[2]->kind, static_cast<uint32_t>(kFlock));
  EXPECT_EQ(locks[2]->type, static_cast<uint32_t>(F_WRLCK));
  const TerminalRecord* master = table.terminals.find(by_number(table, 102)->file);
  const TerminalRecord* other = table.terminals.find(by_number(table, 103)->file);
  ASSERT_TRUE(master && other);
  EXPECT_EQ(master->other_end, other->terminal);
  EXPECT_EQ(master->index, other->index);
  EXPECT_EQ(by_number(table, 100)->kind, static_cast<uint32_t>(kOtherFile));
  ::close(terminal);
  ::close(slave);
}

TEST(DirectoryWatch, IsWhatWasAskedFor) {
  DirectoryWatchRecord source{};
  source.descriptor = 7;
  source.events = 0x28000000 | 0x100 | 0x80 | 0x4;  // FS_EVENT_ON_CHILD, FS_DN_MULTISHOT, FS_CREATE, FS_MOVED_TO, FS_ATTRIB
  const auto watch = directory_watch(source);
  ASSERT_TRUE(watch) << watch.error().message();
  EXPECT_EQ(watch->number(), 7);
  EXPECT_EQ(watch->events(), static_cast<uint32_t>(DN_MULTISHOT | DN_CREATE | DN_ATTRIB));
}

TEST(DirectoryWatch, ForSomethingUnknownIsRefused) {
  DirectoryWatchRecord source{};
  source.events = 0x28000000 | 0x100 | 0x00100000;
  const auto watch = directory_watch(source);
  ASSERT_FALSE(watch);
  EXPECT_NE(watch.error().message().find("F_NOTIFY"), std::string::npos);
}

}  // namespace
}  // namespace perdure::posix
