#include "posix/epoll.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

#include <algorithm>

#include "linux/private_descriptors.h"
#include "linux/process.h"
#include "posix/anonymous_inode.h"
#include "posix/file_kind.h"
#include "posix/kinds.h"

namespace perdure::posix {

namespace {

/// What an item keeps when its EPOLLONESHOT is spent.
constexpr uint32_t kBehaviour = EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE;
/// What a file may be told to be ready for.
constexpr uint32_t kEveryEvent = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDNORM | EPOLLRDBAND | EPOLLWRNORM | EPOLLWRBAND | EPOLLRDHUP;

struct Watch {
  int target;
  const EpollItem* item;
};

bool is_spent(const EpollItem& item) { return (item.events() & ~kBehaviour) == 0; }
/// An edge that was told is not told again, though the file is still ready.
bool is_told(const EpollItem& item) { return !item.ready() && (item.events() & EPOLLET) != 0; }

class EpollKind final : public FileKind {
 public:
  const char* name() const override { return "epoll"; }
  OpenFile::KindCase record_case() const override { return OpenFile::kEpoll; }

  bool recognizes(const FileSource& source, const CaptureContext&) const override {
    return source.record.kind == kEpollFile && is_anonymous_inode(source.record, "[eventpoll]");
  }

  Result<void> capture(const FileSource& source, CaptureContext& context, OpenFile& file) const override {
    Epoll& epoll = *file.mutable_epoll();
    for (const EpollItemRecord* source_item : source.table.epoll_items.of(source.record.file)) {
      EpollItem& item = *epoll.add_items();
      item.set_open_file(context.file_object(source_item->file));
      item.set_number(source_item->descriptor);
      item.set_events(source_item->events);
      item.set_data(source_item->data);
      item.set_ready(source_item->is_ready != 0);
    }
    return {};
  }

  Result<Fd> restore(ObjectId, const OpenFile&, RestoreContext&) const override {
    Fd fd(epoll_create1(EPOLL_CLOEXEC));
    if (!fd) return system_error("make an epoll instance");
    return fd;
  }

  bool connects_last() const override { return true; }

  Result<void> connect(ObjectId, const OpenFile& file, int fd, RestoreContext& context) const override {
    std::vector<Watch> quiet;
    std::vector<Watch> others;
    for (const EpollItem& item : file.epoll().items()) {
      // What is watched must be as it was already: an epoll set in an epoll set first.
      TRY(context.connect_file(item.open_file()));
      auto& watches = is_spent(item) || is_told(item) ? quiet : others;
      watches.push_back({TRY(context.open_file(item.open_file())), &item});
    }
    // While one is spent, no other may be ready.
    std::ranges::stable_partition(quiet, is_spent, [](const Watch& watch) -> const EpollItem& { return *watch.item; });
    return with_private_descriptors([&](int own) -> Result<void> {
      for (const Watch& watch : quiet) TRY(add(own, fd, watch));
      if (!quiet.empty()) TRY(take_events(own, fd, quiet.size()));
      for (const Watch& watch : others) TRY(add(own, fd, watch));
      return {};
    });
  }

 private:
  /// An item is known by its file and by the number under which it was added: so it is added under that number again. `own` is a
  /// pidfd of this process, from whose untouched table both are taken.
  static Result<void> add(int own, int epoll, const Watch& watch) {
    const EpollItem& item = *watch.item;
    const Fd watched = TRY(duplicate_descriptor(own, watch.target));
    Fd numbered(dup2(watched.get(), item.number()));
    if (!numbered) return system_error(fmt::format("take descriptor number {}", item.number()));
    const Fd instance = TRY(duplicate_descriptor(own, epoll));
    epoll_event event{};
    // A spent item becomes one by being spent again, if its file is ready for anything.
    event.events = is_spent(item) ? item.events() | kEveryEvent : item.events();
    event.data.u64 = item.data();
    const int added = epoll_ctl(instance.get(), EPOLL_CTL_ADD, numbered.get(), &event);
    if (added != 0) return system_error(fmt::format("watch descriptor {} by epoll", item.number()));
    if (is_spent(item)) TRY(spend(instance.get(), numbered.get(), item));
    if (numbered.get() == watched.get()) (void)numbered.release();
    return {};
  }

  /// Spends an EPOLLONESHOT. What is ready for nothing keeps those two events that cannot be left out: hanging up, and errors.
  static Result<void> spend(int epoll, int watched, const EpollItem& item) {
    epoll_event event{};
    if (epoll_wait(epoll, &event, 1, 0) > 0) return {};
    event.events = item.events();
    event.data.u64 = item.data();
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, watched, &event) != 0) return system_error("change what an epoll set watches");
    return {};
  }

  /// Takes the events that items told before; each is told once.
  static Result<void> take_events(int own, int epoll, size_t count) {
    const Fd instance = TRY(duplicate_descriptor(own, epoll));
    std::vector<epoll_event> events(count);
    while (epoll_wait(instance.get(), events.data(), static_cast<int>(events.size()), 0) > 0) {
    }
    return {};
  }
};

const Descriptor* descriptor_numbered(const DescriptorTable& table, int number, ObjectId open_file) {
  const auto found = std::ranges::find(table.descriptors(), number, &Descriptor::number);
  return found != table.descriptors().end() && found->open_file() == open_file ? &*found : nullptr;
}

}  // namespace

Result<void> add_signal_watches(SyscallBatch& batch, const DescriptorTable& table, const ObjectTree& tree, std::set<std::pair<ObjectId, int>>& watched) {
  for (const Descriptor& descriptor : table.descriptors()) {
    const OpenFile& file = *TRY(tree.open_file(descriptor.open_file()));
    for (const EpollItem& item : file.epoll().items()) {
      if (is_spent(item) || is_told(item) || !TRY(tree.open_file(item.open_file()))->has_signalfd()) continue;
      if (descriptor_numbered(table, item.number(), item.open_file()) == nullptr) continue;
      if (!watched.insert({descriptor.open_file(), item.number()}).second) continue;
      struct __attribute__((packed)) {
        uint32_t events;
        uint64_t data;
      } event{item.events(), item.data()};
      const auto set = static_cast<uint64_t>(descriptor.number());
      const auto number = static_cast<uint64_t>(item.number());
      batch.add("watch signals by epoll", SYS_epoll_ctl, {set, EPOLL_CTL_DEL, number, 0});
      batch.add("watch signals by epoll", SYS_epoll_ctl, {set, EPOLL_CTL_ADD, number, batch.add_value(event)});
    }
  }
  return {};
}

const FileKind* epoll_kind() {
  static const EpollKind kind;
  return &kind;
}

}  // namespace perdure::posix
