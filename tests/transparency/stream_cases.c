// Calls that move data: pipes, FIFOs, sockets, terminals.
#include "trial.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pty.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <termios.h>

enum { message_bytes = 1000 };

// Where the call reads

static void with_pipe(struct trial* trial) {
  int ends[2];
  NEED(pipe(ends));
  trial->near = ends[0];
  trial->far = ends[1];
}

static void set_timeouts(struct trial* trial, int fd) {
  if (trial->timeout_ms < 0) return;
  struct timeval time = {trial->timeout_ms / 1000, trial->timeout_ms % 1000 * 1000};
  NEED(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time));
  NEED(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time));
}

static void with_socket_pair(struct trial* trial, int type) {
  int pair[2];
  NEED(socketpair(AF_UNIX, type, 0, pair));
  trial->near = pair[0];
  trial->far = pair[1];
  set_timeouts(trial, trial->near);
}

static void with_stream(struct trial* trial) { with_socket_pair(trial, SOCK_STREAM); }
static void with_datagrams(struct trial* trial) { with_socket_pair(trial, SOCK_DGRAM); }
static void with_packets(struct trial* trial) { with_socket_pair(trial, SOCK_SEQPACKET); }

static int loopback_socket(int type, struct sockaddr_in* name) {
  int fd = NEED(socket(AF_INET, type, 0));
  *name = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  NEED(bind(fd, (struct sockaddr*)name, sizeof *name));
  socklen_t length = sizeof *name;
  NEED(getsockname(fd, (struct sockaddr*)name, &length));
  return fd;
}

static void with_tcp(struct trial* trial) {
  struct sockaddr_in name;
  int listener = loopback_socket(SOCK_STREAM, &name);
  int small = 65536;
  NEED(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small));
  NEED(listen(listener, 1));
  trial->near = NEED(socket(AF_INET, SOCK_STREAM, 0));
  NEED(setsockopt(trial->near, SOL_SOCKET, SO_SNDBUF, &small, sizeof small));
  NEED(connect(trial->near, (struct sockaddr*)&name, sizeof name));
  trial->far = NEED(accept(listener, NULL, NULL));
  set_timeouts(trial, trial->near);
}

static void with_udp(struct trial* trial) {
  struct sockaddr_in name;
  trial->near = loopback_socket(SOCK_DGRAM, &name);
  trial->far = NEED(socket(AF_INET, SOCK_DGRAM, 0));
  NEED(connect(trial->far, (struct sockaddr*)&name, sizeof name));
  set_timeouts(trial, trial->near);
}

static long received(struct trial* trial, long result) {
  int error = errno;
  describe_pattern(trial, result);
  errno = error;
  return result;
}

static long in_read(struct trial* trial) { return received(trial, read(trial->near, trial->buffer, message_bytes)); }
static long in_readv(struct trial* trial) {
  struct iovec vectors[2] = {{trial->buffer, 10}, {trial->buffer + 10, message_bytes - 10}};
  return received(trial, readv(trial->near, vectors, 2));
}
static long in_recv(struct trial* trial) { return received(trial, recv(trial->near, trial->buffer, message_bytes, 0)); }
static long in_recv_all(struct trial* trial) { return received(trial, recv(trial->near, trial->buffer, message_bytes, MSG_WAITALL)); }
static long in_recv_large(struct trial* trial) { return received(trial, recv(trial->near, trial->buffer, transfer_bytes, MSG_WAITALL)); }
static long in_recvmsg(struct trial* trial) {
  struct iovec vectors[2] = {{trial->buffer, 10}, {trial->buffer + 10, message_bytes - 10}};
  struct msghdr message = {.msg_iov = vectors, .msg_iovlen = 2};
  return received(trial, recvmsg(trial->near, &message, 0));
}
static long in_recvmmsg(struct trial* trial) {
  struct iovec vectors[2] = {{trial->buffer, message_bytes}, {trial->buffer + message_bytes, message_bytes}};
  struct mmsghdr messages[2] = {{.msg_hdr = {.msg_iov = &vectors[0], .msg_iovlen = 1}}, {.msg_hdr = {.msg_iov = &vectors[1], .msg_iovlen = 1}}};
  return recvmmsg(trial->near, messages, 2, 0, NULL);
}
static long in_splice(struct trial* trial) {
  int into[2];
  NEED(pipe(into));
  return splice(trial->near, NULL, into[1], NULL, message_bytes, 0);
}
static long in_tee(struct trial* trial) {
  int into[2];
  NEED(pipe(into));
  return tee(trial->near, into[1], message_bytes, 0);
}

static long half_of(const struct trial* trial, long whole) { return trial->arrival == arrives_half ? whole / 2 : whole; }
static void feed_message(struct trial* trial) { feed(trial->far, 0, half_of(trial, message_bytes)); }
static void feed_in_two(struct trial* trial) {
  feed(trial->far, 0, message_bytes / 2);
  if (trial->arrival == arrives_half) return;
  usleep(20000);
  feed(trial->far, message_bytes / 2, message_bytes / 2);
}
static void feed_large(struct trial* trial) { feed(trial->far, 0, half_of(trial, transfer_bytes)); }

static void with_fifo(struct trial* trial) {
  (void)trial;
  char name[64];
  snprintf(name, sizeof name, "fifo-%d", getpid());
  NEED(mkfifo(name, 0600));
}
static long in_open_fifo(struct trial* trial) {
  char name[64];
  snprintf(name, sizeof name, "fifo-%d", getpid());
  (void)trial;
  return open(name, O_RDONLY) >= 0 ? 0 : -1;
}
static void open_fifo(struct trial* trial) {
  char name[64];
  snprintf(name, sizeof name, "fifo-%d", getpid());
  trial->far = NEED(open(name, O_RDWR));
}
static void remove_fifo(struct trial* trial) {
  (void)trial;
  char name[64];
  snprintf(name, sizeof name, "fifo-%d", getpid());
  unlink(name);
}

// Descriptors that carry events

static void with_eventfd(struct trial* trial) { trial->near = trial->far = NEED(eventfd(0, 0)); }
static void count_up(struct trial* trial) { NEED(eventfd_write(trial->extra >= 0 ? trial->extra : trial->far, 7)); }
static long in_eventfd(struct trial* trial) {
  eventfd_t value = 0;
  int result = eventfd_read(trial->near, &value);
  return result < 0 ? result : (long)value;
}
static void with_full_eventfd(struct trial* trial) {
  with_eventfd(trial);
  NEED(eventfd_write(trial->near, UINT64_MAX - 1));
}
static long in_eventfd_write(struct trial* trial) { return eventfd_write(trial->near, 5); }
static void read_eventfd(struct trial* trial) {
  eventfd_t value;
  NEED(eventfd_read(trial->far, &value));
}

static void with_timerfd(struct trial* trial) { trial->near = trial->far = NEED(timerfd_create(CLOCK_MONOTONIC, 0)); }
static long in_timerfd(struct trial* trial) {
  uint64_t count = 0;
  ssize_t result = read(trial->near, &count, sizeof count);
  return result < 0 ? result : (long)count;
}
static void expire(struct trial* trial) {
  struct itimerspec soon = {.it_value.tv_nsec = 1000000};
  NEED(timerfd_settime(trial->far, 0, &soon, NULL));
}

static void with_signalfd(struct trial* trial) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  sigprocmask(SIG_BLOCK, &set, NULL);
  trial->near = NEED(signalfd(-1, &set, 0));
}
static long in_signalfd(struct trial* trial) {
  struct signalfd_siginfo information = {0};
  ssize_t result = read(trial->near, &information, sizeof information);
  return result < 0 ? result : (long)information.ssi_signo;
}
static void send_signal(struct trial* trial) {
  (void)trial;
  kill(getpid(), SIGUSR2);
}

static void with_inotify(struct trial* trial) {
  with_pipe(trial);
  trial->near = NEED(inotify_init());
  char name[64];
  snprintf(name, sizeof name, "watched-%d", getpid());
  trial->extra = NEED(open(name, O_CREAT | O_RDWR, 0600));
  NEED(inotify_add_watch(trial->near, name, IN_ATTRIB));
}
static long in_inotify(struct trial* trial) {
  ssize_t result = read(trial->near, trial->buffer, 1000);
  return result < 0 ? result : (long)((struct inotify_event*)trial->buffer)->mask;
}
static void change_attributes(struct trial* trial) { NEED(fchmod(trial->extra, 0644)); }
static void remove_watched(struct trial* trial) {
  (void)trial;
  char name[64];
  snprintf(name, sizeof name, "watched-%d", getpid());
  unlink(name);
}

// Terminals

static void with_terminal(struct trial* trial) {
  int master, slave;
  NEED(openpty(&master, &slave, NULL, NULL, NULL));
  trial->near = slave;
  trial->far = master;
}
static void with_raw_terminal(struct trial* trial) {
  with_terminal(trial);
  struct termios modes;
  NEED(tcgetattr(trial->near, &modes));
  cfmakeraw(&modes);
  modes.c_cc[VMIN] = 200;
  modes.c_cc[VTIME] = 0;
  NEED(tcsetattr(trial->near, TCSANOW, &modes));
}
static void with_timed_terminal(struct trial* trial) {
  with_terminal(trial);
  struct termios modes;
  NEED(tcgetattr(trial->near, &modes));
  cfmakeraw(&modes);
  modes.c_cc[VMIN] = 0;
  modes.c_cc[VTIME] = (cc_t)(trial->timeout_ms / 100);
  NEED(tcsetattr(trial->near, TCSANOW, &modes));
}
static long in_terminal(struct trial* trial) { return read(trial->near, trial->buffer, 1000); }
static void type_line(struct trial* trial) { NEED(write(trial->far, "a whole line\n", trial->arrival == arrives_half ? 6 : 13)); }
static void type_many(struct trial* trial) {
  static const char keys[200] = "keys";
  NEED(write(trial->far, keys, half_of(trial, sizeof keys)));
}

static void with_held_terminal(struct trial* trial) {
  with_terminal(trial);
  NEED(tcflow(trial->near, TCOOFF));
}
static long in_terminal_write(struct trial* trial) { return write(trial->near, "said", 4); }
static void let_output_go(struct trial* trial) { NEED(tcflow(trial->near, TCOON)); }

// Where the call writes

static void with_writable_pipe(struct trial* trial) {
  int ends[2];
  NEED(pipe(ends));
  trial->near = ends[1];
  trial->far = ends[0];
  make_pattern(trial);
}
static void with_full_pipe(struct trial* trial) {
  with_writable_pipe(trial);
  NEED(fcntl(trial->near, F_SETPIPE_SZ, 65536));
  NEED(write(trial->near, trial->buffer, 65536) == 65536 ? 0 : -1);
}
static void with_writable_stream(struct trial* trial) {
  with_stream(trial);
  make_pattern(trial);
}
static void with_writable_tcp(struct trial* trial) {
  with_tcp(trial);
  make_pattern(trial);
}
static void with_full_datagrams(struct trial* trial) {
  with_datagrams(trial);
  fill_to_the_brim(trial->near);
}
static void with_file(struct trial* trial) {
  with_writable_stream(trial);
  char name[64];
  snprintf(name, sizeof name, "file-%d", getpid());
  trial->extra = NEED(open(name, O_CREAT | O_RDWR, 0600));
  unlink(name);
  NEED(write(trial->extra, trial->buffer, transfer_bytes) == transfer_bytes ? 0 : -1);
  NEED(lseek(trial->extra, 0, SEEK_SET));
}
static void with_file_and_full_pipe(struct trial* trial) {
  with_file(trial);
  with_full_pipe(trial);
}
static long in_write(struct trial* trial) { return write(trial->near, trial->buffer, transfer_bytes); }
static long in_writev(struct trial* trial) {
  struct iovec vectors[2] = {{trial->buffer, 100000}, {trial->buffer + 100000, transfer_bytes - 100000}};
  return writev(trial->near, vectors, 2);
}
static long in_send(struct trial* trial) { return send(trial->near, trial->buffer, transfer_bytes, MSG_NOSIGNAL); }
static long in_sendmsg(struct trial* trial) {
  struct iovec vectors[2] = {{trial->buffer, 100000}, {trial->buffer + 100000, transfer_bytes - 100000}};
  struct msghdr message = {.msg_iov = vectors, .msg_iovlen = 2};
  return sendmsg(trial->near, &message, MSG_NOSIGNAL);
}
/// How much a TCP connection takes is not the same twice; whether it was none, some or all is.
static long in_tcp_send(struct trial* trial) {
  long result = send(trial->near, trial->buffer, transfer_bytes, MSG_NOSIGNAL);
  return result <= 0 ? result : result < transfer_bytes ? 1 : 2;
}
static long in_send_datagram(struct trial* trial) { return send(trial->near, trial->buffer, 100, 0); }
static long in_sendmsg_datagram(struct trial* trial) {
  struct iovec vector = {trial->buffer, 100};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
  return sendmsg(trial->near, &message, 0);
}
static long in_sendmmsg(struct trial* trial) {
  struct iovec vector = {trial->buffer, 100};
  struct mmsghdr messages[2] = {{.msg_hdr = {.msg_iov = &vector, .msg_iovlen = 1}}, {.msg_hdr = {.msg_iov = &vector, .msg_iovlen = 1}}};
  return sendmmsg(trial->near, messages, 2, 0);
}
static long in_sendfile(struct trial* trial) { return sendfile(trial->near, trial->extra, NULL, transfer_bytes); }
static long in_vmsplice(struct trial* trial) {
  struct iovec vector = {trial->buffer, 65536};
  return vmsplice(trial->near, &vector, 1, 0);
}
static long in_splice_out(struct trial* trial) {
  int from[2];
  NEED(pipe(from));
  feed(from[1], 0, 60000);
  return splice(from[0], NULL, trial->near, NULL, 60000, 0);
}
static void drain_all(struct trial* trial) { drain(trial, trial->far, half_of(trial, transfer_bytes)); }
static void drain_page(struct trial* trial) { drain(trial, trial->far, trial->arrival == arrives_half ? 100 : 65536); }
static void receive_datagrams(struct trial* trial) {
  while (recv(trial->far, trial->buffer, 5000, MSG_DONTWAIT) > 0) continue;
}

// Connections

static void with_listener(struct trial* trial) {
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  trial->near = NEED(socket(AF_UNIX, SOCK_STREAM, 0));
  NEED(bind(trial->near, (struct sockaddr*)&name, sizeof(sa_family_t)));  // the kernel finds a name
  NEED(listen(trial->near, 0));
  set_timeouts(trial, trial->near);
}
static int connect_to_listener(int listener, int fd) {
  struct sockaddr_un name;
  socklen_t length = sizeof name;
  NEED(getsockname(listener, (struct sockaddr*)&name, &length));
  return connect(fd, (struct sockaddr*)&name, length);
}
static long in_accept(struct trial* trial) { return accept(trial->near, NULL, NULL) >= 0 ? 0 : -1; }
static void connect_unix(struct trial* trial) { NEED(connect_to_listener(trial->near, NEED(socket(AF_UNIX, SOCK_STREAM, 0)))); }
static void with_full_listener(struct trial* trial) {
  with_listener(trial);
  connect_unix(trial);
  trial->extra = NEED(socket(AF_UNIX, SOCK_STREAM, 0));
  set_timeouts(trial, trial->extra);
}
static long in_connect(struct trial* trial) { return connect_to_listener(trial->near, trial->extra); }
static void accept_one(struct trial* trial) { NEED(accept(trial->near, NULL, NULL)); }
static void with_tcp_listener(struct trial* trial) {
  struct sockaddr_in name;
  trial->near = loopback_socket(SOCK_STREAM, &name);
  NEED(listen(trial->near, 3));
  set_timeouts(trial, trial->near);
}
static void connect_tcp(struct trial* trial) {
  struct sockaddr_in name;
  socklen_t length = sizeof name;
  NEED(getsockname(trial->near, (struct sockaddr*)&name, &length));
  NEED(connect(NEED(socket(AF_INET, SOCK_STREAM, 0)), (struct sockaddr*)&name, length));
}

const struct blocking_case stream_cases[] = {
    {"read pipe", has_half, with_pipe, in_read, feed_message, NULL},
    {"readv pipe", has_half, with_pipe, in_readv, feed_message, NULL},
    {"splice from pipe", has_half, with_pipe, in_splice, feed_message, NULL},
    {"tee pipe", has_half, with_pipe, in_tee, feed_message, NULL},
    {"open FIFO", 0, with_fifo, in_open_fifo, open_fifo, remove_fifo},
    {"read stream", has_timeout | has_half, with_stream, in_read, feed_message, NULL},
    {"readv stream", has_timeout | has_half, with_stream, in_readv, feed_message, NULL},
    {"recv stream", has_timeout | has_half, with_stream, in_recv, feed_message, NULL},
    {"recv all stream", has_timeout | has_half, with_stream, in_recv_all, feed_in_two, NULL},
    {"recv large stream", has_timeout | has_half, with_stream, in_recv_large, feed_large, NULL},
    {"recvmsg stream", has_timeout | has_half, with_stream, in_recvmsg, feed_message, NULL},
    {"splice from stream", has_timeout | has_half, with_stream, in_splice, feed_message, NULL},
    {"recv datagram", has_timeout, with_datagrams, in_recv, feed_message, NULL},
    {"recv seqpacket", has_timeout, with_packets, in_recv, feed_message, NULL},
    {"recvmsg seqpacket", has_timeout, with_packets, in_recvmsg, feed_message, NULL},
    {"recvmmsg two", has_timeout | has_half, with_datagrams, in_recvmmsg, feed_in_two, NULL},
    {"recv tcp", has_timeout | has_half, with_tcp, in_recv, feed_message, NULL},
    {"recv all tcp", has_timeout | has_half, with_tcp, in_recv_all, feed_in_two, NULL},
    {"recv large tcp", has_timeout | has_half, with_tcp, in_recv_large, feed_large, NULL},
    {"recv udp", has_timeout, with_udp, in_recv, feed_message, NULL},
    {"recvmsg udp", has_timeout, with_udp, in_recvmsg, feed_message, NULL},
    {"read eventfd", 0, with_eventfd, in_eventfd, count_up, NULL},
    {"write eventfd", 0, with_full_eventfd, in_eventfd_write, read_eventfd, NULL},
    {"read timerfd", 0, with_timerfd, in_timerfd, expire, NULL},
    {"read signalfd", 0, with_signalfd, in_signalfd, send_signal, NULL},
    {"read inotify", 0, with_inotify, in_inotify, change_attributes, remove_watched},
    {"read terminal line", has_half, with_terminal, in_terminal, type_line, NULL},
    {"read terminal raw", has_half, with_raw_terminal, in_terminal, type_many, NULL},
    {"read terminal timed", must_timeout | has_half, with_timed_terminal, in_terminal, type_many, NULL},
    {"write pipe", has_half, with_writable_pipe, in_write, drain_all, NULL},
    {"writev pipe", has_half, with_writable_pipe, in_writev, drain_all, NULL},
    {"vmsplice full pipe", has_half, with_full_pipe, in_vmsplice, drain_page, NULL},
    {"splice to full pipe", has_half, with_full_pipe, in_splice_out, drain_page, NULL},
    {"write stream", has_timeout | has_half, with_writable_stream, in_write, drain_all, NULL},
    {"writev stream", has_timeout | has_half, with_writable_stream, in_writev, drain_all, NULL},
    {"send stream", has_timeout | has_half, with_writable_stream, in_send, drain_all, NULL},
    {"sendmsg stream", has_timeout | has_half, with_writable_stream, in_sendmsg, drain_all, NULL},
    {"sendfile to stream", has_timeout | has_half, with_file, in_sendfile, drain_all, NULL},
    {"sendfile to full pipe", has_half, with_file_and_full_pipe, in_sendfile, drain_page, NULL},
    {"send tcp", has_timeout | has_half, with_writable_tcp, in_tcp_send, drain_all, NULL},
    {"send datagram", has_timeout, with_full_datagrams, in_send_datagram, receive_datagrams, NULL},
    {"sendmsg datagram", has_timeout, with_full_datagrams, in_sendmsg_datagram, receive_datagrams, NULL},
    {"sendmmsg datagrams", has_timeout, with_full_datagrams, in_sendmmsg, receive_datagrams, NULL},
    {"write terminal held", 0, with_held_terminal, in_terminal_write, let_output_go, NULL},
    {"accept unix", has_timeout, with_listener, in_accept, connect_unix, NULL},
    {"accept tcp", has_timeout, with_tcp_listener, in_accept, connect_tcp, NULL},
    {"connect unix", has_timeout, with_full_listener, in_connect, accept_one, NULL},
};
const unsigned stream_case_count = sizeof stream_cases / sizeof *stream_cases;
