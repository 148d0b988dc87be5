// A process with an io_uring is refused with a message that names it, and its ring goes on working.
// refused: io_uring
#include <linux/io_uring.h>

#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  struct io_uring_params parameters = {0};
  const int ring = syscall(SYS_io_uring_setup, 4, &parameters);
  if (ring == -1) SKIP("no io_uring here");
  const size_t queue_size = parameters.sq_off.array + parameters.sq_entries * 4 + parameters.cq_entries * sizeof(struct io_uring_cqe) + 4096;
  char* queues = mmap(NULL, queue_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQ_RING);
  struct io_uring_sqe* entries = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQES);
  CHECK(queues != MAP_FAILED && entries != MAP_FAILED, "mmap");
  checkpoint_here();
  uint32_t* tail = (uint32_t*)(queues + parameters.sq_off.tail);
  const uint32_t mask = *(uint32_t*)(queues + parameters.sq_off.ring_mask);
  entries[*tail & mask] = (struct io_uring_sqe){.opcode = IORING_OP_NOP, .user_data = 4711};
  ((uint32_t*)(queues + parameters.sq_off.array))[*tail & mask] = *tail & mask;
  __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
  CHECK_EQUAL(syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0), 1);
  const uint32_t head = *(uint32_t*)(queues + parameters.cq_off.head);
  const struct io_uring_cqe* completions = (const struct io_uring_cqe*)(queues + parameters.cq_off.cqes);
  CHECK_EQUAL(completions[head & (parameters.cq_entries - 1)].user_data, 4711);
  return 0;
}
