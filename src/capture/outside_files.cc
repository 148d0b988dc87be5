#include "capture/outside_files.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/clock.h"

namespace perdure::capture {

void OutsideFiles::begin(int64_t now_ns) {
  now_ns_ = now_ns;
  for (auto& [key, known] : known_) known.met = known.mapped_now = false;
}

/// A description of its own: a duplicate of the group's would keep flock() locks alive.
Result<OutsideFiles::Known*> OutsideFiles::meet(Key key, const std::string& link) {
  Known& known = known_[key];
  known.met = true;
  if (known.file != nullptr) return &known;
  Fd fd(::open(link.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!fd) {
    const int error = errno;
    known_.erase(key);
    return std::unexpected(Error{"open " + link + ", to sync what the program writes to it (--files none: leave that out)", error});
  }
  known.file = std::make_shared<OutsideFile>(OutsideFile{.fd = std::move(fd)});
  return &known;
}

bool OutsideFiles::unchanged(const Known& known, const Stamp& stamp) {
  return known.noted_ns != 0 && !known.mapped && known.stamp == stamp && stamp.modified_ns < known.noted_ns - kTimestampStepNs;
}

Result<void> OutsideFiles::note(Key key, const std::string& link, const Stamp& stamp) {
  Known& known = *TRY(meet(key, link));
  if (!unchanged(known, stamp)) to_sync_[known.file.get()] = known.file;
  known.stamp = stamp;
  known.noted_ns = now_ns_;
  known.mapped = known.mapped_now;
  return {};
}

Result<void> OutsideFiles::note_mapped(Key key, const std::string& link) {
  Known& known = *TRY(meet(key, link));
  known.mapped = known.mapped_now = true;
  to_sync_[known.file.get()] = known.file;
  return {};
}

void OutsideFiles::end() {
  std::erase_if(known_, [&](const auto& entry) {
    const Known& known = entry.second;
    if (known.met) return false;
    struct stat status {};
    const bool read = fstat(known.file->fd.get(), &status) == 0;
    const Stamp stamp{status.st_size, to_nanoseconds(status.st_mtim), to_nanoseconds(status.st_ctim)};
    if (!read || !unchanged(known, stamp)) to_sync_[known.file.get()] = known.file;
    return true;
  });
}

std::vector<std::shared_ptr<OutsideFile>> OutsideFiles::take() {
  std::vector<std::shared_ptr<OutsideFile>> files;
  for (auto& [address, file] : std::exchange(to_sync_, {})) files.push_back(std::move(file));
  return files;
}

}  // namespace perdure::capture
