// A process in a seccomp filter is refused by name, without its filter getting in the way, and is filtered afterwards as before.
// refused: (?i)seccomp
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  // getcpu fails with EDOM; userfaultfd, ptrace and process_vm_readv kill.
  struct sock_filter instructions[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getcpu, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EDOM),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ptrace, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
  };
  const struct sock_fprog filter = {sizeof instructions / sizeof *instructions, instructions};
  MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter));
  unsigned cpu;
  CHECK(syscall(SYS_getcpu, &cpu, NULL, NULL) == -1 && errno == EDOM, "the filter does not work");
  checkpoint_here();
  CHECK(syscall(SYS_getcpu, &cpu, NULL, NULL) == -1 && errno == EDOM, "the filter is gone");
  CHECK_EQUAL(prctl(PR_GET_SECCOMP), SECCOMP_MODE_FILTER);
  return 0;
}
