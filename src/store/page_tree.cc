#include "store/page_tree.h"

#include <cstdlib>
#include <cstring>
#include <new>

namespace perdure::store {
namespace {

/// Capacities grow in steps that waste at most a third.
unsigned next_capacity(unsigned capacity) {
  if (capacity < 4) return capacity + 1;
  return capacity >= 48 ? 64 : capacity + capacity / 2;
}

}  // namespace

PageTree::Node* PageTree::make(unsigned height, unsigned capacity) {
  const size_t slot = height == 0 ? sizeof(PageEntry) : sizeof(Node*);
  return new (::operator new(sizeof(Node) + capacity * slot)) Node(static_cast<uint8_t>(height), static_cast<uint8_t>(capacity));
}

void PageTree::release(Node* node) {
  if (node == nullptr || node->references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  if (node->height > 0)
    for (unsigned i = 0; i < node->count(); ++i) release(node->children()[i]);
  node->~Node();
  ::operator delete(node);
}

void PageTree::own(Node*& node) {
  if (node->references.load(std::memory_order_acquire) == 1) return;
  Node* copy = make(node->height, node->capacity);
  copy->present = node->present;
  if (node->height == 0) {
    std::memcpy(copy->entries(), node->entries(), node->count() * sizeof(PageEntry));
  } else {
    for (unsigned i = 0; i < node->count(); ++i) retain(copy->children()[i] = node->children()[i]);
  }
  release(node);
  node = copy;
}

void PageTree::open_slot(Node*& node, unsigned bit) {
  const size_t size = node->height == 0 ? sizeof(PageEntry) : sizeof(Node*);
  const unsigned count = node->count();
  if (count == node->capacity) {
    Node* larger = make(node->height, next_capacity(count));
    larger->present = node->present;
    std::memcpy(static_cast<void*>(larger->entries()), node->entries(), count * size);
    node->~Node();
    ::operator delete(node);
    node = larger;
  }
  const unsigned slot = node->slot(bit);
  std::byte* slots = reinterpret_cast<std::byte*>(node + 1);
  std::memmove(slots + (slot + 1) * size, slots + slot * size, (count - slot) * size);
  node->present |= uint64_t{1} << bit;
}

void PageTree::close_slot(Node* node, unsigned bit) {
  const size_t size = node->height == 0 ? sizeof(PageEntry) : sizeof(Node*);
  const unsigned slot = node->slot(bit);
  std::byte* slots = reinterpret_cast<std::byte*>(node + 1);
  std::memmove(slots + slot * size, slots + (slot + 1) * size, (node->count() - slot - 1) * size);
  node->present &= ~(uint64_t{1} << bit);
}

void PageTree::grow_to(uint64_t page) {
  if (root_ == nullptr) {
    unsigned height = 0;
    while (page > limit(height)) ++height;
    root_ = make(height, 1);
  }
  while (page > limit(root_->height)) {
    Node* above = make(root_->height + 1u, 1);
    above->present = 1;
    above->children()[0] = root_;
    root_ = above;
  }
}

std::optional<PageEntry> PageTree::find(uint64_t page) const {
  const Node* node = root_;
  if (node == nullptr || page > limit(node->height)) return std::nullopt;
  for (;; node = node->children()[node->slot(page >> (kBits * node->height) & 63)]) {
    const unsigned bit = page >> (kBits * node->height) & 63;
    if (!node->has(bit)) return std::nullopt;
    if (node->height == 0) return node->entries()[node->slot(bit)];
  }
}

std::optional<PageEntry> PageTree::put(uint64_t page, PageEntry entry) {
  grow_to(page);
  Node** at = &root_;
  for (;;) {
    own(*at);
    const unsigned height = (*at)->height;
    const unsigned bit = page >> (kBits * height) & 63;
    const bool present = (*at)->has(bit);
    if (!present) open_slot(*at, bit);
    if (height == 0) {
      PageEntry& slot = (*at)->entries()[(*at)->slot(bit)];
      if (present) return std::exchange(slot, entry);
      slot = entry;
      ++size_;
      return std::nullopt;
    }
    Node** child = &(*at)->children()[(*at)->slot(bit)];
    if (!present) *child = make(height - 1, 1);
    at = child;
  }
}

}  // namespace perdure::store
