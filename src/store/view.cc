#include "store/view.h"

#include <fmt/format.h>

#include "store/bulk_read.h"

namespace perdure::store {
namespace {

class IndexView : public View {
 public:
  IndexView(EpochInfo info, Index index, PageReader reader)
      : info_(std::move(info)), index_(std::move(index)), reader_(std::move(reader)) {
    for (const auto& [id, record] : index_.objects()) objects_.emplace(id, *record);
  }

  const EpochInfo& info() const override { return info_; }
  const std::map<ObjectId, std::string>& objects() const override { return objects_; }

  std::vector<SpaceId> spaces() const override {
    std::vector<SpaceId> ids;
    for (const auto& [id, tree] : index_.spaces()) ids.push_back(id);
    return ids;
  }

  uint64_t page_count(SpaceId space) const override {
    const PageTree* tree = index_.space(space);
    return tree == nullptr ? 0 : tree->size();
  }

  std::vector<Run> runs(SpaceId space, uint64_t first, uint64_t count) const override {
    std::vector<Run> found;
    const PageTree* tree = index_.space(space);
    if (tree == nullptr) return found;
    tree->for_each(first, count, [&](uint64_t page, const PageEntry&) {
      if (!found.empty() && found.back().first + found.back().count == page) ++found.back().count;
      else found.push_back({page, 1});
      return true;
    });
    return found;
  }

  Result<void> read(SpaceId space, uint64_t first, uint64_t count, std::byte* to) const override {
    const auto context = [&] { return fmt::format("epoch {}, space {}, pages {}+{}", info_.epoch, space, first, count); };
    std::vector<PageEntry> entries;
    entries.reserve(count);
    if (const PageTree* tree = index_.space(space))
      tree->for_each(first, count, [&](uint64_t, const PageEntry& entry) {
        entries.push_back(entry);
        return true;
      });
    if (entries.size() != count) return failure(context() + ": not all are present");
    auto done = reader_.read(entries, to);
    if (!done) return std::unexpected(std::move(done).error().in(context()));
    return {};
  }

  std::optional<uint64_t> page_hash(SpaceId space, uint64_t page) const override {
    const auto entry = index_.find(space, page);
    return entry ? std::optional(entry->hash) : std::nullopt;
  }

  Result<void> read_all(std::span<const SpaceId> spaces, const std::function<Result<void>(std::span<const Extent>)>& take, Pace pace) const override {
    auto done = store::read_all(index_, spaces, reader_, take, pace);
    if (!done) return std::unexpected(std::move(done).error().in(fmt::format("epoch {}", info_.epoch)));
    return {};
  }

 private:
  EpochInfo info_;
  Index index_;
  PageReader reader_;
  std::map<ObjectId, std::string> objects_;
};

}  // namespace

std::unique_ptr<View> make_view(EpochInfo info, Index index, PageReader reader) {
  return std::make_unique<IndexView>(std::move(info), std::move(index), std::move(reader));
}

}  // namespace perdure::store
