// Names that are no UTF-8: of files, directories, FIFOs, sockets, memfds, watches and threads. To the kernel they are bytes.
// covers: names, cwd
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  char* const directory = scratch_path("d\377");
  MUST(mkdir(directory, 0700));
  MUST(chdir(directory));
  const int file = MUST(open("f\303", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  MUST(write(file, "abc", 3));
  MUST(mkfifo("p\200", 0600));
  const int fifo = MUST(open("p\200", O_RDWR));
  const int place = MUST(open(directory, O_PATH));
  const int memory = MUST(memfd_create("m\376", 0));
  struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "s\240"};
  const int listener = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
  MUST(bind(listener, (struct sockaddr*)&name, sizeof name));
  MUST(listen(listener, 1));
  const int watches = MUST(inotify_init1(IN_NONBLOCK));
  const int watch = MUST(inotify_add_watch(watches, "f\303", IN_ATTRIB));
  MUST(prctl(PR_SET_NAME, "t\377"));
  checkpoint_here();
  char text[64] = {0};
  MUST(prctl(PR_GET_NAME, text));
  CHECK(strcmp(text, "t\377") == 0, "the thread's name is '%s'", text);
  char* const here = getcwd(NULL, 0);
  CHECK(strcmp(here, directory) == 0, "the working directory is '%s'", here);
  CHECK_EQUAL(MUST(pread(file, text, sizeof text, 0)), 3);
  MUST(write(fifo, "x", 1));
  CHECK_EQUAL(MUST(read(fifo, text, 1)), 1);
  CHECK_EQUAL(faccessat(place, "f\303", R_OK, 0), 0);
  char link[64], target[64] = {0};
  snprintf(link, sizeof link, "/proc/self/fd/%d", memory);
  MUST(readlink(link, target, sizeof target - 1));
  CHECK(strcmp(target, "/memfd:m\376 (deleted)") == 0, "the memfd is '%s'", target);
  const int client = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
  MUST(connect(client, (struct sockaddr*)&name, sizeof name));
  MUST(fchmod(file, 0640));
  struct inotify_event event;
  MUST(read(watches, &event, sizeof event));
  CHECK_EQUAL(event.wd, watch);
  return 0;
}
