// Paths, told apart without being read.
#pragma once

#include "posix/kernel.bpf.h"

#define kSignatureFactor 0x9E3779B97F4A7C15ull
enum { kPathDepthLimit = 64 };

/// A sum over the names from the dentry up to its file system's root: cheap enough to tell at each epoch that a path is what it was.
static __noinline uint64_t path_signature(uint64_t dentry) {
  uint64_t sum = 0;
  REPEAT(kPathDepthLimit) {
    uint64_t parent = word_at(dentry + FIELD_OFFSET(dentry, d_parent));
    if (parent == dentry || !parent) break;
    bool has_name = word_at(dentry + FIELD_OFFSET(dentry, d_hash.pprev)) != 0;
    sum = (sum ^ dentry) * kSignatureFactor + word_at(dentry + FIELD_OFFSET(dentry, d_name.hash_len)) + has_name;
    dentry = parent;
  }
  return sum;
}
