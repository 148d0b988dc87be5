// What was made of each open file description and descriptor table, and from what: where everything is as it was, nothing needs to be captured.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "capture/identities.h"
#include "posix/collector.h"
#include "posix/object_tree.h"

namespace perdure::capture {

/// What a capture asked its posix::CaptureContext, and was told: its record depends on nothing else but on what was read of the file.
struct Questions {
  struct Question {
    enum class About : uint8_t { file, first_sight, inode };
    About about;
    uint64_t address;  ///< of the kernel object
    uint64_t answer;
  };
  std::vector<Question> asked;
  bool repeatable = true;  ///< false where an answer is of this moment alone: what waits in a socket's queue, for example
};

/// An open file description.
struct KnownFile {
  Identities::Identity* identity = nullptr;
  uint64_t met = 0;             ///< the last attempt at a checkpoint in which it was
  bool kept = false;            ///< in that attempt
  bool can_be_kept = false;     ///< the last epoch has a record of it, and that depends on nothing but what was read, and on `questions`
  Questions questions;
  posix::OpenFile::KindCase kind = posix::OpenFile::KIND_NOT_SET;
  uint64_t socket = 0;          ///< address of its struct sock; 0: it is none
};

/// A descriptor table.
struct KnownTable {
  posix::FileTable read;          ///< in the last epoch
  std::vector<KnownFile*> files;  ///< those of `read`
  bool is_plain = false;          ///< it has no locks and no watches
  uint64_t met = 0;               ///< the last attempt at a checkpoint in which it was
};

}  // namespace perdure::capture
