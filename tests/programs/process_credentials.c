// Real, effective, saved and file-system ids and supplementary groups come back, each on its own.
// covers: credentials
#include <grp.h>
#include <sys/fsuid.h>

#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  if (geteuid() != 0) SKIP("only root can change its ids");
  const gid_t groups[] = {7, 100, 54321};
  MUST(setgroups(3, groups));
  MUST(setresgid(1001, 1002, 1003));
  MUST(setresuid(2001, 0, 2003));
  setfsgid(1004);
  setfsuid(2004);
  char* uids = status_field(getpid(), "Uid");
  char* gids = status_field(getpid(), "Gid");
  CHECK(strcmp(uids, "2001\t0\t2003\t2004") == 0 && strcmp(gids, "1001\t1002\t1003\t1004") == 0, "uids %s, gids %s", uids, gids);
  checkpoint_here();
  char* uids_after = status_field(getpid(), "Uid");
  char* gids_after = status_field(getpid(), "Gid");
  CHECK(strcmp(uids, uids_after) == 0, "uids were %s, are %s", uids, uids_after);
  CHECK(strcmp(gids, gids_after) == 0, "gids were %s, are %s", gids, gids_after);
  gid_t seen[10];
  CHECK_EQUAL(getgroups(10, seen), 3);
  CHECK(memcmp(seen, groups, sizeof groups) == 0, "groups %u %u %u", seen[0], seen[1], seen[2]);
  return 0;
}
