// A socket that an eBPF program filters is refused.
// refused: SO_ATTACH_BPF
#include "inet.h"

#include <linux/bpf.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  const int fd = bound(SOCK_DGRAM, 0);
  const struct bpf_insn instructions[] = {
      {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0xffff},
      {.code = BPF_JMP | BPF_EXIT},
  };
  union bpf_attr attributes = {.prog_type = BPF_PROG_TYPE_SOCKET_FILTER};
  attributes.insns = (uintptr_t)instructions;
  attributes.insn_cnt = 2;
  attributes.license = (uintptr_t) "GPL";
  const int program = syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes);
  if (program == -1) SKIP("no BPF here");
  MUST(setsockopt(fd, SOL_SOCKET, SO_ATTACH_BPF, &program, sizeof program));
  MUST(close(program));
  checkpoint_here();
  return 0;
}
