// Protection keys stay on their pages, stay allocated, and each thread keeps its own rights.
// covers: xsave
#include "check.h"

int main(int argc, char** argv) {
  begin(argc, argv);
  const int key = pkey_alloc(0, 0);
  if (key == -1) SKIP("no protection keys here");
  char* memory = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memory[0] = 3;
  MUST(pkey_mprotect(memory, 4096, PROT_READ | PROT_WRITE, key));
  MUST(pkey_set(key, PKEY_DISABLE_WRITE));
  checkpoint_here();
  CHECK_EQUAL(pkey_get(key), PKEY_DISABLE_WRITE);
  CHECK_EQUAL(memory[0], 3);
  CHECK(faults(memory, true), "the protected page can be written");
  CHECK(!faults(memory + 4096, true), "the other page cannot be written");
  MUST(pkey_set(key, 0));
  CHECK(!faults(memory, true), "the page cannot be written with the rights for it");
  const int another = MUST(pkey_alloc(0, 0));
  CHECK(another != key, "the key was free");
  MUST(pkey_free(another));
  MUST(pkey_free(key));
  return 0;
}
