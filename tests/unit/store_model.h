// What a store should hold, kept the simplest way, and random changes to compare by.
#pragma once

#include <map>
#include <optional>
#include <random>
#include <string>

#include "store/store.h"

namespace perdure::store::testing {

/// The contents of one epoch. A page is named by the seed its bytes are made from; seed 0 is the zero page.
struct Model {
  std::map<SpaceId, std::map<uint64_t, uint64_t>> spaces;
  std::map<ObjectId, std::string> objects;
  bool operator==(const Model&) const = default;

  /// Applies what `changes` says to this model, as the contract of Changes has it (contents are found by find_seed).
  void apply(const Changes& changes);
};

void fill_page(std::byte* page, uint64_t seed);
/// The seed fill_page made this page from.
uint64_t find_seed(const std::byte* page);

/// How large random changes are.
struct WorkloadShape {
  uint64_t pages = 8;        ///< put in one epoch, about
  uint64_t page_range = 64;  ///< page numbers below this
  uint64_t spaces = 4;
  uint64_t largest_object = 200;
};

/// Random changes of every kind.
void random_changes(Changes& changes, const WorkloadShape& shape, std::mt19937_64& random);

/// What differs between a view and what it should show; empty when nothing does. With `readable`, the first read error.
std::string difference(const View& view, const Model& model);

}  // namespace perdure::store::testing
