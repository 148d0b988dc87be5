#include "store/epoch_writer.h"

#include <algorithm>
#include <cstring>

namespace perdure::store {

Result<void> EpochWriter::snapshot_piece(std::span<const std::byte> entries) {
  entries_.assign(entries.begin(), entries.end());
  PartHeader header;
  header.flags = kPartSnapshot;
  return finish_part(header);
}

Result<void> EpochWriter::moved_page(std::span<const PageNumber> at, const std::byte* contents, uint64_t hash) {
  TRY(make_room());
  encoder_.pages(at[0].space, at[0].page, 1);
  encoder_.add_hash(hash);
  add_data(contents, 1);
  for (const PageNumber& page : at.subspan(1)) encoder_.same_page(page.space, page.page);
  return {};
}

Result<void> EpochWriter::changes(const Changes& changes) {
  // Clones copy what was there before this epoch, so they come before every other change.
  for (const auto& operation : changes.page_operations())
    if (operation.kind == Changes::PageOperation::Kind::clone_from) encoder_.cloned_space(operation.first, operation.space);
  for (const auto& [id, change] : changes.objects()) TRY(object(id, change));
  for (const auto& operation : changes.page_operations()) {
    TRY(make_room());
    switch (operation.kind) {
      case Changes::PageOperation::Kind::put: TRY(put(operation)); break;
      case Changes::PageOperation::Kind::erase: encoder_.erased_pages(operation.space, operation.first, operation.count); break;
      case Changes::PageOperation::Kind::erase_space: encoder_.erased_space(operation.space); break;
      case Changes::PageOperation::Kind::clone_from: break;
    }
  }
  return {};
}

Result<void> EpochWriter::object(ObjectId id, const Changes::ObjectChange& change) {
  TRY(make_room());
  if (change.erased) {
    encoder_.object_erased(id);
    return {};
  }
  std::string_view left = change.record;
  for (bool more = false; !more || !left.empty(); more = true) {
    TRY(make_room());
    const auto piece = left.substr(0, limits_.entries_bytes);
    encoder_.object(id, piece, more);
    left.remove_prefix(piece.size());
  }
  return {};
}

Result<void> EpochWriter::put(const Changes::PageOperation& operation) {
  for (uint64_t done = 0; done < operation.count;) {
    TRY(make_room());
    done += TRY(put_run(operation.space, operation.first + done, operation.count - done, operation.staged + done * kPageSize));
  }
  return {};
}

/// Puts the leading pages that are all zero, or all not, as far as the part has room; returns how many.
Result<uint64_t> EpochWriter::put_run(SpaceId space, uint64_t first, uint64_t count, const std::byte* staged) {
  uint64_t run = 0;
  while (run < count && is_zero_page(staged + run * kPageSize)) ++run;
  if (run != 0) {
    encoder_.zero_pages(space, first, run);
    return run;
  }
  const uint64_t most = std::min(count, limits_.data_pages - data_pages_);
  while (run < most && (run == 0 || !is_zero_page(staged + run * kPageSize))) ++run;
  encoder_.pages(space, first, run);
  unhashed_.push_back({entries_.size(), staged, run});
  entries_.resize(entries_.size() + run * sizeof(uint64_t));
  add_data(staged, run);
  return run;
}

void EpochWriter::add_data(const std::byte* pages, uint64_t count) {
  data_pages_ += count;
  if (!data_.empty() && static_cast<const std::byte*>(data_.back().iov_base) + data_.back().iov_len == pages)
    data_.back().iov_len += count * kPageSize;
  else
    data_.push_back({const_cast<std::byte*>(pages), count * kPageSize});
}

Result<void> EpochWriter::make_room() {
  if (data_pages_ < limits_.data_pages && entries_.size() < limits_.entries_bytes) return {};
  TRY(finish_part({}));
  return log_.flush();
}

Result<void> EpochWriter::finish_part(PartHeader header) {
  header.epoch = epoch_;
  header.part_number = static_cast<uint32_t>(parts_.size());
  header.entries_bytes = entries_.size();
  header.data_pages = static_cast<uint32_t>(data_pages_);
  const uint64_t space = entries_space(header);
  Part part{header, allocate_aligned(space)};
  if (!part.head) return std::unexpected(Error{"write the store", ENOMEM});
  std::copy(entries_.begin(), entries_.end(), part.head.get() + sizeof header);
  const size_t used = sizeof header + entries_.size();
  std::memset(part.head.get() + used, 0, space - used);
  parts_.push_back(std::move(part));
  TRY(log_.place(parts_.back(), data_));
  hash_pages(parts_.back());
  TRY(log_.add(parts_.back()));
  entries_.clear();
  data_.clear();
  data_pages_ = 0;
  return {};
}

void EpochWriter::hash_pages(Part& part) {
  for (const auto& [at, pages, count] : unhashed_) {
    std::byte* to = part.head.get() + sizeof(PartHeader) + at;
    for (uint64_t page = 0; page < count; ++page) {
      const uint64_t hash = hash_page(pages + page * kPageSize);
      std::memcpy(to + page * sizeof hash, &hash, sizeof hash);
    }
  }
  unhashed_.clear();
}

Result<void> EpochWriter::commit(const PartHeader& commit, const EpochInfo& info, const SnapshotRoot* root) {
  PartHeader header = commit;
  header.flags = kPartCommit | (root != nullptr ? kPartSnapshotRoot : 0u);
  if (!info.label.empty()) encoder_.label(info.label);
  if (!info.attributes.empty()) encoder_.attributes(info.attributes);
  if (root != nullptr) encoder_.snapshot_root(*root);
  if (log_.written() || log_.segment_full()) {
    TRY(log_.sync());
    header.flushed_parts = static_cast<uint32_t>(parts_.size());
  }
  TRY(finish_part(header));
  return log_.sync();
}

}  // namespace perdure::store
