#include "store/index.h"

namespace perdure::store {

void Liveness::forget_before(EpochNumber oldest) {
  for (; !deaths_.empty() && deaths_.front().epoch <= oldest; deaths_.pop_front()) {
    for (const auto& [sequence, count] : deaths_.front().counts) {
      Segment& segment = segments_[sequence];
      segment.held -= count;
      if (segment.live != 0 || segment.held != 0) continue;
      segments_.erase(sequence);
      recent_[sequence % kRecent] = {};
    }
  }
}

Liveness::Counts Liveness::segment(uint64_t sequence) const {
  const auto found = segments_.find(sequence);
  return found == segments_.end() ? Counts{0, 0} : Counts{found->second.live, found->second.held};
}

uint64_t Liveness::live_pages() const {
  uint64_t sum = 0;
  for (const auto& [sequence, segment] : segments_) sum += segment.live;
  return sum;
}

/// Applies one part's entries to an index.
class Index::Applier {
 public:
  Applier(Index& index, EpochNumber epoch, Place data, IndexObserver* observer)
      : index_(index), epoch_(epoch), data_(data), observer_(observer) {}

  void apply(const Entry& entry) {
    if (entry.kind == EntryKind::cloned_space) {
      const PageTree* from = index_.space(entry.id);
      clones_.emplace_back(entry.first, from == nullptr ? PageTree() : *from);
      return;
    }
    finish_clones();
    switch (entry.kind) {
      case EntryKind::object: set_object(entry.id, text(entry)); break;
      case EntryKind::object_more: set_object(entry.id, record(entry.id) + text(entry)); break;
      case EntryKind::object_erased: erase_object(entry.id); break;
      case EntryKind::pages: put_data(entry); break;
      case EntryKind::zero_pages: put_zeros(entry); break;
      case EntryKind::placed_pages: put_placed(entry); break;
      case EntryKind::same_page: put(index_.spaces_[entry.id], entry.first, last_data_); break;
      case EntryKind::erased_pages: erase(entry.id, entry.first, entry.count); break;
      case EntryKind::erased_space: erase_space(entry.id); break;
      default: break;
    }
  }

  /// Clones in a row all copy what was there before the first of them.
  void finish_clones() {
    for (auto& [to, tree] : clones_) {
      erase_space(to);
      if (tree.size() == 0) continue;
      if (observer_ != nullptr) count(tree);
      index_.spaces_[to] = std::move(tree);
    }
    clones_.clear();
  }

  void count(const PageTree& tree) {
    tree.for_each([this](uint64_t, const PageEntry& entry) {
      observer_->born(entry);
      return true;
    });
  }

 private:
  static std::string text(const Entry& entry) {
    return {reinterpret_cast<const char*>(entry.bytes.data()), entry.bytes.size()};
  }

  std::string record(ObjectId id) const {
    const auto found = index_.objects_.find(id);
    return found == index_.objects_.end() ? std::string() : *found->second;
  }

  void set_object(ObjectId id, std::string bytes) {
    erase_object(id);
    index_.object_bytes_ += bytes.size();
    index_.objects_[id] = std::make_shared<const std::string>(std::move(bytes));
  }

  void erase_object(ObjectId id) {
    const auto found = index_.objects_.find(id);
    if (found == index_.objects_.end()) return;
    index_.object_bytes_ -= found->second->size();
    index_.objects_.erase(found);
  }

  void put(PageTree& tree, uint64_t page, PageEntry entry) {
    const auto replaced = tree.put(page, entry);
    if (observer_ == nullptr) return;
    observer_->born(entry);
    if (replaced) observer_->died(*replaced, epoch_);
  }

  void put_data(const Entry& entry) {
    PageTree& tree = index_.spaces_[entry.id];
    for (uint64_t i = 0; i < entry.count; ++i, data_.offset += kPageSize)
      put(tree, entry.first + i, last_data_ = {make_location(data_.sequence, data_.offset), entry.hash(i)});
  }

  void put_zeros(const Entry& entry) {
    PageTree& tree = index_.spaces_[entry.id];
    for (uint64_t i = 0; i < entry.count; ++i) put(tree, entry.first + i, {kZeroPage, zero_page_hash()});
  }

  void put_placed(const Entry& entry) {
    PageTree& tree = index_.spaces_[entry.id];
    for (uint64_t i = 0; i < entry.count; ++i) put(tree, entry.first + i, entry.placed(i));
  }

  void erase(SpaceId space, uint64_t first, uint64_t count) {
    const auto found = index_.spaces_.find(space);
    if (found == index_.spaces_.end()) return;
    found->second.erase(first, count, [this](uint64_t, const PageEntry& entry) {
      if (observer_ != nullptr) observer_->died(entry, epoch_);
    });
    if (found->second.size() == 0) index_.spaces_.erase(found);
  }

  void erase_space(SpaceId space) {
    if (observer_ != nullptr) erase(space, 0, kPageNumberLimit);
    else index_.spaces_.erase(space);
  }

  Index& index_;
  EpochNumber epoch_;
  Place data_;
  IndexObserver* observer_;
  PageEntry last_data_{kZeroPage, zero_page_hash()};
  std::vector<std::pair<SpaceId, PageTree>> clones_;
};

Result<void> Index::apply(std::span<const std::byte> entries, EpochNumber epoch, Place data, IndexObserver* observer) {
  Applier applier(*this, epoch, data, observer);
  EntryDecoder decoder(entries);
  for (Entry entry; decoder.next(entry);) applier.apply(entry);
  applier.finish_clones();
  if (decoder.failed()) return failure("malformed entries");
  return {};
}

const PageTree* Index::space(SpaceId id) const {
  const auto found = spaces_.find(id);
  return found == spaces_.end() ? nullptr : &found->second;
}

std::optional<PageEntry> Index::find(SpaceId id, uint64_t page) const {
  const PageTree* tree = space(id);
  return tree == nullptr || page >= kPageNumberLimit ? std::nullopt : tree->find(page);
}

uint64_t Index::page_count() const {
  uint64_t sum = 0;
  for (const auto& [id, tree] : spaces_) sum += tree.size();
  return sum;
}

}  // namespace perdure::store
