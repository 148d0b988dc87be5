/* PID 1 and 2 of a group's namespaces: a small static program, the same at every start, so that it is cheap to fork bare tasks from.
 * Init (1) reaps orphans and ends the namespace when the supervisor dies (or not, by choice). The shepherd (2) is the parent of
 * the group's first process, so that this one does not look orphaned, and reports what becomes of its children. */
#define _GNU_SOURCE
#include "linux/init_protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { START_DESCRIPTORS = 5, EXIT_KILLED = 137, EXIT_NO_PROGRAM = 127, EXIT_NOT_RUNNABLE = 126 };

static void say(uint32_t kind, int32_t pid, int32_t status) {
  const struct perdure_init_message message = {kind, pid, status};
  /* Without a supervisor there is nobody to tell. */
  (void)!send(PERDURE_INIT_SOCKET, &message, sizeof message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* `executed` closes by itself when the program has taken the place of this image. */
static _Noreturn void run_program(const int descriptors[START_DESCRIPTORS], int executed) {
  struct stat status;
  if (fstat(descriptors[0], &status) != 0) _exit(EXIT_NOT_RUNNABLE);
  char *plan_bytes = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, descriptors[0], 0);
  if (plan_bytes == MAP_FAILED) _exit(EXIT_NOT_RUNNABLE);
  const struct perdure_start_plan plan = *(struct perdure_start_plan *)plan_bytes;
  gid_t *groups = (gid_t *)(plan_bytes + sizeof plan);
  char *text = (char *)(groups + plan.group_count);
  char **arguments = calloc(plan.argument_count + plan.environment_count + 2, sizeof *arguments);
  char **environment = arguments + plan.argument_count + 1;
  for (uint32_t i = 0; i < plan.argument_count; ++i, text += strlen(text) + 1) arguments[i] = text;
  for (uint32_t i = 0; i < plan.environment_count; ++i, text += strlen(text) + 1) environment[i] = text;

  setsid();
  for (int i = 0; i < 3; ++i) dup2(descriptors[2 + i], i);
  if (plan.take_terminal) ioctl(0, TIOCSCTTY, 0);
  if (fchdir(descriptors[1]) != 0) {
    dprintf(2, "perdure: cannot enter the working directory: %s\n", strerror(errno));
    _exit(EXIT_NOT_RUNNABLE);
  }
  if (executed != 3) dup3(executed, 3, O_CLOEXEC);
  close_range(4, ~0u, 0);
  prctl(PR_SET_PDEATHSIG, 0);
  if (plan.change_user &&
      (setgroups(plan.group_count, groups) != 0 || setresgid(plan.gid, plan.gid, plan.gid) != 0 ||
       setresuid(plan.uid, plan.uid, plan.uid) != 0)) {
    dprintf(2, "perdure: cannot become user %u: %s\n", plan.uid, strerror(errno));
    _exit(EXIT_NOT_RUNNABLE);
  }
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &plan.signal_mask, NULL, sizeof plan.signal_mask);
  environ = environment;
  execvp(arguments[0], arguments);
  const int error = errno;
  dprintf(2, "perdure: cannot run '%s': %s\n", arguments[0], strerror(error));
  _exit(error == ENOENT ? EXIT_NO_PROGRAM : EXIT_NOT_RUNNABLE);
}

/* False when the supervisor has closed its end. */
static bool serve_start(void) {
  char byte;
  struct iovec vector = {&byte, 1};
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int) * START_DESCRIPTORS)];
  } control;
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  const ssize_t got = recvmsg(PERDURE_INIT_SOCKET, &message, MSG_CMSG_CLOEXEC);
  if (got <= 0) return got < 0 && errno == EINTR;
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (header == NULL || header->cmsg_type != SCM_RIGHTS || header->cmsg_len != CMSG_LEN(sizeof(int) * START_DESCRIPTORS)) return true;
  int descriptors[START_DESCRIPTORS];
  memcpy(descriptors, CMSG_DATA(header), sizeof descriptors);
  int executed[2] = {-1, -1};
  const bool piped = pipe2(executed, O_CLOEXEC) == 0;
  const pid_t pid = fork();
  if (pid == 0) run_program(descriptors, executed[1]);
  /* The first checkpoint is one of the program, not of what becomes it. */
  if (piped) {
    close(executed[1]);
    while (read(executed[0], &byte, 1) < 0 && errno == EINTR) {
    }
    close(executed[0]);
  }
  say(PERDURE_INIT_STARTED, pid, pid < 0 ? errno : 0);
  for (int i = 0; i < START_DESCRIPTORS; ++i) close(descriptors[i]);
  return true;
}

/* Returns whether any child is left. */
static bool reap(bool report) {
  for (;;) {
    int status;
    const pid_t pid = waitpid(-1, &status, WNOHANG | (report ? WUNTRACED | WCONTINUED : 0) | __WALL);
    if (pid == 0) return true;
    if (pid < 0 && errno == ECHILD) return false;
    if (pid < 0) continue;
    if (report) say(PERDURE_INIT_CHILD, pid, status);
  }
}

static _Noreturn void serve(bool shepherd, bool survive, int signals) {
  bool supervised = true;
  bool listening = shepherd;
  for (;;) {
    struct pollfd wanted[3] = {
        {signals, POLLIN, 0},
        {supervised ? PERDURE_INIT_SUPERVISOR : -1, POLLIN, 0},
        {listening ? PERDURE_INIT_SOCKET : -1, POLLIN, 0},
    };
    if (poll(wanted, 3, -1) < 0) continue;
    if (wanted[1].revents != 0) {
      if (!survive) _exit(EXIT_KILLED);
      supervised = false;
    }
    if (wanted[0].revents != 0) {
      struct signalfd_siginfo ignored;
      (void)!read(signals, &ignored, sizeof ignored);
    }
    const bool children = reap(shepherd);
    if (!children && !supervised) _exit(0);
    if (wanted[2].revents != 0) listening = serve_start();
  }
}

int main(int argc, char **argv) {
  const bool survive = argc > 1 && strcmp(argv[1], PERDURE_INIT_CONTINUE) == 0;
  prctl(PR_SET_NAME, "perdure-init");
  if (mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL) != 0 || mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0) {
    say(PERDURE_INIT_READY, 0, errno);
    return 1;
  }
  /* Only now: propagation would take it to the machine's own /dev/pts. */
  if (move_mount(PERDURE_INIT_TERMINALS, "", AT_FDCWD, "/dev/pts", MOVE_MOUNT_F_EMPTY_PATH) != 0 && errno != EBADF) {
    say(PERDURE_INIT_READY, 0, errno);
    return 1;
  }
  close(PERDURE_INIT_TERMINALS);
  sigset_t every;
  sigfillset(&every);
  sigprocmask(SIG_SETMASK, &every, NULL);
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  const pid_t shepherd = fork();
  if (shepherd < 0) {
    say(PERDURE_INIT_READY, 0, errno);
    return 1;
  }
  if (shepherd == 0) close(PERDURE_INIT_TERMINAL);
  /* Only now: it may take the number of a terminal that was never given. */
  const int signals = signalfd(-1, &child, SFD_CLOEXEC);
  if (shepherd == 0) {
    prctl(PR_SET_NAME, "perdure-shepherd");
    say(PERDURE_INIT_READY, getpid(), 0);
    serve(true, survive, signals);
  }
  close(PERDURE_INIT_SOCKET);
  serve(false, survive, signals);
}
