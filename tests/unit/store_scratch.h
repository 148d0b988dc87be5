// A directory that goes when its owner does, however a test ends.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <string>

namespace perdure::store::testing {

class ScratchDirectory {
 public:
  ScratchDirectory() {
    char name[] = "/tmp/perdure-store-XXXXXX";
    path_ = ::mkdtemp(name);
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  ~ScratchDirectory() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace perdure::store::testing
