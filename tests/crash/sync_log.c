// Preloaded into the supervisor: a line of $SYNC_LOG for each sync of a file, when it is done, and for each write of an epoch, before it begins.
// The program that the supervisor runs does not get it.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static int log_file = -1;

__attribute__((constructor)) static void begin(void) {
  const char* path = getenv("SYNC_LOG");
  if (path) log_file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  unsetenv("LD_PRELOAD");
}

/// "WHAT SIZE PATH", the size that the file had at `status`.
static void tell(const char* what, int file, const struct stat* status) {
  const int error = errno;
  char link[32], path[4096], line[4200];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  const ssize_t length = readlink(link, path, sizeof path - 1);
  path[length > 0 ? length : 0] = '\0';
  const int size = snprintf(line, sizeof line, "%s %lld %s\n", what, (long long)status->st_size, path);
  if (log_file >= 0 && write(log_file, line, (size_t)size) != size) abort();
  errno = error;
}

int fdatasync(int file) {
  int (*const next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  struct stat before = {0};
  fstat(file, &before);
  const int result = next(file);
  tell(result == 0 ? "synced" : "failed", file, &before);
  return result;
}

static void tell_of_write(int file) {
  struct stat before = {0};
  fstat(file, &before);
  tell("write", file, &before);
}

/// By which epochs are written: io_submit, which has no function of its own. The zeros that make room for later ones go by pwrite.
long syscall(long number, ...) {
  long (*const next)(long, ...) = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
  long arguments[6];
  va_list list;
  va_start(list, number);
  for (int i = 0; i < 6; i++) arguments[i] = va_arg(list, long);
  va_end(list);
  if (number == SYS_io_submit) {
    struct iocb** requests = (struct iocb**)arguments[2];
    for (long i = 0; i < arguments[1]; i++) tell_of_write((int)requests[i]->aio_fildes);
  }
  return next(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}

/// Where the kernel has no asynchronous writes, and for what such a write left.
ssize_t pwritev(int file, const struct iovec* parts, int count, off_t offset) {
  ssize_t (*const next)(int, const struct iovec*, int, off_t) = (ssize_t(*)(int, const struct iovec*, int, off_t))dlsym(RTLD_NEXT, "pwritev");
  tell_of_write(file);
  return next(file, parts, count, offset);
}
