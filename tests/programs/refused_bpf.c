// A BPF map held by a descriptor is refused.
// refused: bpf
#include "check.h"
#include <linux/bpf.h>

int main(int argc, char** argv) {
  begin(argc, argv);
  union bpf_attr attributes = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 4};
  const int fd = (int)syscall(SYS_bpf, BPF_MAP_CREATE, &attributes, sizeof attributes);
  if (fd < 0) SKIP("no BPF here");
  checkpoint_here();
  struct stat status;
  MUST(fstat(fd, &status));
  return 0;
}
