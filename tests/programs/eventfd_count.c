// Eventfds: a count, a semaphore, an empty one, one that is full; a writer and a reader asleep on them.
// covers: eventfd
#include "check.h"
#include <sys/eventfd.h>

static int full, empty;
static void* blocked_writer(void* argument) {
  (void)argument;
  CHECK_EQUAL(eventfd_write(full, 5), 0);
  return NULL;
}
static void* blocked_reader(void* argument) {
  (void)argument;
  eventfd_t value;
  CHECK_EQUAL(eventfd_read(empty, &value), 0);
  CHECK_EQUAL(value, 9);
  return NULL;
}

int main(int argc, char** argv) {
  begin(argc, argv);
  const int count = MUST(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  const int semaphore = MUST(eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK));
  full = MUST(eventfd(0, 0));
  empty = MUST(eventfd(0, 0));
  MUST(eventfd_write(count, 0x123456789aull));
  MUST(eventfd_write(full, UINT64_MAX - 1));
  pthread_t writer, reader;
  CHECK_EQUAL(pthread_create(&writer, NULL, blocked_writer, NULL), 0);
  CHECK_EQUAL(pthread_create(&reader, NULL, blocked_reader, NULL), 0);
  checkpoint_here();
  eventfd_t value;
  MUST(eventfd_read(count, &value));
  CHECK_EQUAL(value, 0x123456789aull);
  CHECK(eventfd_read(count, &value) == -1 && errno == EAGAIN, "the count was not reset");
  for (int i = 0; i < 3; i++) {
    MUST(eventfd_read(semaphore, &value));
    CHECK_EQUAL(value, 1);
  }
  CHECK(eventfd_read(semaphore, &value) == -1 && errno == EAGAIN, "the semaphore counts on");
  MUST(eventfd_read(full, &value));
  CHECK_EQUAL(value, UINT64_MAX - 1);
  pthread_join(writer, NULL);
  MUST(eventfd_read(full, &value));
  CHECK_EQUAL(value, 5);
  MUST(eventfd_write(empty, 9));
  pthread_join(reader, NULL);
  return 0;
}
