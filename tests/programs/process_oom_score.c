// oom_score_adj comes back, and how low it may go without privilege.
// covers: scheduling
#include "check.h"
#include <linux/capability.h>

static bool write_score(const char* value) {
  const int fd = MUST(open("/proc/self/oom_score_adj", O_WRONLY));
  const bool written = write(fd, value, strlen(value)) == (ssize_t)strlen(value);
  close(fd);
  return written;
}

static void drop_capability(int capability) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  MUST(syscall(SYS_capget, &header, data));
  data[CAP_TO_INDEX(capability)].effective &= ~CAP_TO_MASK(capability);
  MUST(syscall(SYS_capset, &header, data));
}

int main(int argc, char** argv) {
  begin(argc, argv);
  CHECK(write_score("123"), "the score cannot be set");
  drop_capability(CAP_SYS_RESOURCE);
  // Where not even root has the capability, its score can go lower.
  const bool can_go_lower = write_score("122");
  CHECK(write_score("321"), "the score cannot be raised");
  checkpoint_here();
  char* text = read_text("/proc/self/oom_score_adj");
  CHECK_EQUAL(atoi(text), 321);
  CHECK_EQUAL(write_score("122"), can_go_lower);
  CHECK(write_score("123"), "the score cannot go as low as before");
  return 0;
}
