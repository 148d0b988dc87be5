#include "store/changes.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "store/page_tree.h"

namespace perdure::store {
namespace {

using Operation = Changes::PageOperation;
using Kind = Operation::Kind;

/// What a list of operations amounts to for one space: what it starts from, then what is taken away, then what is put.
struct SpaceOutcome {
  enum class Basis { own, nothing, clone } basis = Basis::own;
  SpaceId cloned_from = 0;
  std::map<uint64_t, uint64_t> erased;  ///< ranges, first -> end, disjoint
  std::map<uint64_t, const std::byte*> put;

  void start_from(Basis from, SpaceId space) {
    basis = from;
    cloned_from = space;
    erased.clear();
    put.clear();
  }

  void erase(uint64_t first, uint64_t end) {
    put.erase(put.lower_bound(first), put.lower_bound(end));
    auto next = erased.upper_bound(first);
    if (next != erased.begin() && std::prev(next)->second >= first) --next;
    while (next != erased.end() && next->first <= end) {
      first = std::min(first, next->first);
      end = std::max(end, next->second);
      next = erased.erase(next);
    }
    erased.emplace(first, end);
  }

  void follow(const SpaceOutcome& later) {
    for (const auto& [first, end] : later.erased) erase(first, end);
    for (const auto& [page, staged] : later.put) put[page] = staged;
  }
};
using Outcomes = std::map<SpaceId, SpaceOutcome>;

Outcomes outcomes_of(const std::vector<Operation>& operations) {
  Outcomes outcomes;
  for (const Operation& operation : operations)
    if (operation.kind == Kind::clone_from)
      outcomes[operation.space].start_from(SpaceOutcome::Basis::clone, operation.first);
  for (const Operation& operation : operations) {
    SpaceOutcome& outcome = outcomes[operation.space];
    if (operation.kind == Kind::erase_space) outcome.start_from(SpaceOutcome::Basis::nothing, 0);
    if (operation.kind == Kind::erase) outcome.erase(operation.first, operation.first + operation.count);
    if (operation.kind == Kind::put)
      for (uint64_t i = 0; i < operation.count; ++i) outcome.put[operation.first + i] = operation.staged + i * kPageSize;
  }
  return outcomes;
}

/// `later` on top of `earlier`, relative to what `earlier` is relative to.
Outcomes merge(const Outcomes& earlier, const Outcomes& later) {
  Outcomes merged = earlier;
  for (const auto& [space, change] : later) {
    SpaceOutcome& outcome = merged[space];
    if (change.basis == SpaceOutcome::Basis::nothing) outcome.start_from(change.basis, 0);
    if (change.basis == SpaceOutcome::Basis::clone) {
      const auto source = earlier.find(change.cloned_from);
      if (source == earlier.end()) {
        outcome.start_from(SpaceOutcome::Basis::clone, change.cloned_from);
      } else {
        outcome = source->second;
        if (outcome.basis == SpaceOutcome::Basis::own) {
          outcome.basis = SpaceOutcome::Basis::clone;
          outcome.cloned_from = change.cloned_from;
        }
      }
    }
    outcome.follow(change);
  }
  return merged;
}

void add_put(std::vector<Operation>& operations, SpaceId space, uint64_t page, const std::byte* staged) {
  if (!operations.empty()) {
    Operation& last = operations.back();
    if (last.kind == Kind::put && last.space == space && last.first + last.count == page &&
        last.staged + last.count * kPageSize == staged) {
      ++last.count;
      return;
    }
  }
  operations.push_back({Kind::put, space, page, 1, staged});
}

std::vector<Operation> operations_of(const Outcomes& outcomes) {
  std::vector<Operation> operations;
  for (const auto& [space, outcome] : outcomes)
    if (outcome.basis == SpaceOutcome::Basis::clone)
      operations.push_back({Kind::clone_from, space, outcome.cloned_from, 0, nullptr});
  for (const auto& [space, outcome] : outcomes) {
    if (outcome.basis == SpaceOutcome::Basis::nothing) operations.push_back({Kind::erase_space, space, 0, 0, nullptr});
    else
      for (const auto& [first, end] : outcome.erased) operations.push_back({Kind::erase, space, first, end - first, nullptr});
    for (const auto& [page, staged] : outcome.put) add_put(operations, space, page, staged);
  }
  return operations;
}

size_t count_puts(const std::vector<Operation>& operations) {
  size_t count = 0;
  for (const Operation& operation : operations)
    if (operation.kind == Kind::put) count += operation.count;
  return count;
}

}  // namespace

void Changes::put_object(ObjectId id, std::string record) { objects_[id] = {.erased = false, .record = std::move(record)}; }

void Changes::erase_object(ObjectId id) { objects_[id] = {.erased = true, .record = {}}; }

std::byte* Changes::allocate_pages(size_t count) {
  if (count > SIZE_MAX / kPageSize) return nullptr;
  AlignedBytes memory = allocate_aligned(count * kPageSize);
  if (!memory) return nullptr;
  staged_bytes_ += count * kPageSize;
  return staging_.emplace_back(std::move(memory)).get();
}

void Changes::adopt_pages(std::vector<std::shared_ptr<std::byte[]>> memory, size_t count) {
  staged_bytes_ += count * kPageSize;
  std::ranges::move(memory, std::back_inserter(staging_));
}

void Changes::put_page(SpaceId space, uint64_t page, const std::byte* staged) {
  add_put(page_operations_, space, page, staged);
  ++page_count_;
}

void Changes::erase_pages(SpaceId space, uint64_t first, uint64_t count) {
  if (count == 0 || first >= kPageNumberLimit) return;
  page_operations_.push_back({Kind::erase, space, first, std::min(count, kPageNumberLimit - first), nullptr});
}

void Changes::erase_space(SpaceId space) { page_operations_.push_back({Kind::erase_space, space, 0, 0, nullptr}); }

void Changes::clone_space(SpaceId from, SpaceId to) {
  // Cloning comes first when the epoch is applied: an erase_space made before it, and what that wiped out, would undo it there.
  const auto last_wipe = std::find_if(page_operations_.rbegin(), page_operations_.rend(), [to](const PageOperation& operation) {
    return operation.kind == Kind::erase_space && operation.space == to;
  });
  const auto end = last_wipe.base();
  const auto kept = std::remove_if(page_operations_.begin(), end, [to](const PageOperation& operation) { return operation.space == to; });
  page_operations_.erase(kept, end);
  page_count_ = count_puts(page_operations_);
  page_operations_.push_back({Kind::clone_from, to, from, 0, nullptr});
}

void Changes::fork_space(SpaceId from, SpaceId to) {
  std::vector<PageOperation> made;
  SpaceId origin = from;
  for (const PageOperation& operation : page_operations_) {
    if (operation.space != from) continue;
    if (operation.kind == Kind::clone_from) origin = operation.first;
    else made.push_back(operation);
  }
  clone_space(origin, to);
  for (PageOperation& operation : made) {
    operation.space = to;
    page_operations_.push_back(operation);
  }
  page_count_ = count_puts(page_operations_);
}

void Changes::absorb(Changes&& later) {
  for (auto& [id, change] : later.objects_) objects_[id] = std::move(change);
  std::move(later.staging_.begin(), later.staging_.end(), std::back_inserter(staging_));
  staged_bytes_ += later.staged_bytes_;
  if (page_operations_.empty()) page_operations_ = std::move(later.page_operations_);
  else if (!later.page_operations_.empty())
    page_operations_ = operations_of(merge(outcomes_of(page_operations_), outcomes_of(later.page_operations_)));
  page_count_ = count_puts(page_operations_);
  later = Changes();
  drop_unused_staging();
}

void Changes::drop_unused_staging() {
  constexpr size_t kWorthwhile = size_t{1} << 20;
  if (staged_bytes_ < 2 * page_count_ * kPageSize + kWorthwhile) return;
  AlignedBytes memory;
  if (page_count_ != 0) {
    memory = allocate_aligned(page_count_ * kPageSize);
    if (!memory) return;
  }
  size_t used = 0;
  for (PageOperation& operation : page_operations_) {
    if (operation.kind != Kind::put) continue;
    std::memcpy(memory.get() + used, operation.staged, operation.count * kPageSize);
    operation.staged = memory.get() + used;
    used += operation.count * kPageSize;
  }
  staging_.clear();
  if (memory) staging_.emplace_back(std::move(memory));
  staged_bytes_ = used;
}

bool Changes::empty() const { return objects_.empty() && page_operations_.empty(); }
size_t Changes::page_count() const { return page_count_; }
size_t Changes::staged_bytes() const { return staged_bytes_; }

}  // namespace perdure::store
