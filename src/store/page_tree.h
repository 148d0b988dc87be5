// From page numbers to where their contents lie: a persistent radix tree.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <optional>
#include <utility>

namespace perdure::store {

/// Where a page's contents lie (see format.h: Location) and their XXH3 hash.
struct PageEntry {
  uint64_t location;
  uint64_t hash;
  bool operator==(const PageEntry&) const = default;
};

/// Page numbers are below this.
inline constexpr uint64_t kPageNumberLimit = uint64_t{1} << 52;

/// A map from page number to PageEntry: leaves of up to 64 pages, packed, so that a page costs 16 bytes and little more. Copying
/// takes constant time and shares everything; what one copy changes, it copies first. One thread may change a tree while others
/// read, copy or destroy other copies.
class PageTree {
 public:
  PageTree() = default;
  PageTree(const PageTree& other) : root_(other.root_), size_(other.size_) { retain(root_); }
  PageTree(PageTree&& other) noexcept : root_(std::exchange(other.root_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  PageTree& operator=(PageTree other) noexcept {
    std::swap(root_, other.root_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~PageTree() { release(root_); }

  uint64_t size() const { return size_; }
  std::optional<PageEntry> find(uint64_t page) const;
  /// Sets a page; returns what it replaces.
  std::optional<PageEntry> put(uint64_t page, PageEntry entry);

  /// Removes the pages in [first, first + count); calls removed(page, entry) for each.
  template <typename Removed>
  void erase(uint64_t first, uint64_t count, Removed&& removed) {
    if (root_ == nullptr || count == 0 || first > limit(root_->height)) return;
    const uint64_t last = last_of(first, count, root_->height);
    if (erase_below(root_, 0, first, last, removed)) {
      release(root_);
      root_ = nullptr;
    }
  }

  /// Calls visit(page, entry) for the pages in [first, first + count), ascending, until it returns false. False when it did.
  template <typename Visit>
  bool for_each(uint64_t first, uint64_t count, Visit&& visit) const {
    if (root_ == nullptr || count == 0 || first > limit(root_->height)) return true;
    return visit_below(root_, 0, first, last_of(first, count, root_->height), visit);
  }
  template <typename Visit>
  bool for_each(Visit&& visit) const {
    return for_each(0, kPageNumberLimit, visit);
  }

 private:
  /// 64 ways a level; present slots are packed behind the node: PageEntry at height 0, Node* above.
  struct Node {
    std::atomic<uint32_t> references{1};
    uint8_t height;
    uint8_t capacity;
    uint64_t present = 0;

    Node(uint8_t node_height, uint8_t slots) : height(node_height), capacity(slots) {}
    PageEntry* entries() { return reinterpret_cast<PageEntry*>(this + 1); }
    const PageEntry* entries() const { return reinterpret_cast<const PageEntry*>(this + 1); }
    Node** children() { return reinterpret_cast<Node**>(this + 1); }
    Node* const* children() const { return reinterpret_cast<Node* const*>(this + 1); }
    unsigned count() const { return static_cast<unsigned>(std::popcount(present)); }
    bool has(unsigned bit) const { return (present >> bit & 1) != 0; }
    unsigned slot(unsigned bit) const { return static_cast<unsigned>(std::popcount(present & ((uint64_t{1} << bit) - 1))); }
  };

  static constexpr unsigned kBits = 6;
  static uint64_t span(unsigned height) { return uint64_t{1} << (kBits * height); }         ///< pages below one slot
  static uint64_t limit(unsigned height) { return (uint64_t{1} << (kBits * (height + 1))) - 1; }  ///< last page it can hold
  static uint64_t last_of(uint64_t first, uint64_t count, unsigned height) {
    const uint64_t last = count - 1 > UINT64_MAX - first ? UINT64_MAX : first + count - 1;
    return last < limit(height) ? last : limit(height);
  }
  static Node* make(unsigned height, unsigned capacity);
  static void retain(Node* node) {
    if (node != nullptr) node->references.fetch_add(1, std::memory_order_relaxed);
  }
  static void release(Node* node);
  static void own(Node*& node);                  ///< makes this reference the only one, copying if it must
  static void open_slot(Node*& node, unsigned bit);  ///< room for `bit`, contents undefined
  static void close_slot(Node* node, unsigned bit);
  void grow_to(uint64_t page);

  /// The slots of a node that [first, last] touches, given as bit numbers.
  static std::pair<unsigned, unsigned> touched(const Node* node, uint64_t base, uint64_t first, uint64_t last) {
    const unsigned shift = kBits * node->height;
    const uint64_t end = base + limit(node->height);
    return {static_cast<unsigned>((first > base ? first - base : 0) >> shift),
            static_cast<unsigned>(((last < end ? last : end) - base) >> shift)};
  }

  template <typename Visit>
  static bool visit_below(const Node* node, uint64_t base, uint64_t first, uint64_t last, Visit& visit) {
    const auto [low, high] = touched(node, base, first, last);
    uint64_t left = node->present & (~uint64_t{0} << low) & (~uint64_t{0} >> (63 - high));
    for (; left != 0; left &= left - 1) {
      const unsigned bit = static_cast<unsigned>(std::countr_zero(left));
      const uint64_t start = base + bit * span(node->height);
      if (node->height == 0) {
        if (!visit(start, node->entries()[node->slot(bit)])) return false;
      } else if (!visit_below(node->children()[node->slot(bit)], start, first, last, visit)) {
        return false;
      }
    }
    return true;
  }

  /// True when the node has become empty.
  template <typename Removed>
  bool erase_below(Node*& node, uint64_t base, uint64_t first, uint64_t last, Removed& removed) {
    const auto [low, high] = touched(node, base, first, last);
    uint64_t left = node->present & (~uint64_t{0} << low) & (~uint64_t{0} >> (63 - high));
    if (left == 0) return false;
    own(node);
    for (; left != 0; left &= left - 1) {
      const unsigned bit = static_cast<unsigned>(std::countr_zero(left));
      const uint64_t start = base + bit * span(node->height);
      if (node->height == 0) {
        removed(start, node->entries()[node->slot(bit)]);
        --size_;
      } else {
        Node*& child = node->children()[node->slot(bit)];
        if (!erase_below(child, start, first, last, removed)) continue;
        release(child);
      }
      close_slot(node, bit);
    }
    return node->present == 0;
  }

  Node* root_ = nullptr;
  uint64_t size_ = 0;
};

}  // namespace perdure::store
