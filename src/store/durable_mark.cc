#include "store/durable_mark.h"

#include <cstring>

namespace perdure::store {
namespace {

constexpr char kFile[] = "durable";
constexpr uint64_t kMarkMagic = 0x6172754472647250;  // "PrdrDura"

struct Note {
  uint64_t magic = kMarkMagic;
  uint64_t epoch = 0;
  uint64_t checksum = 0;  ///< over the epoch, seeded with the store's id
};
static_assert(sizeof(Note) == 24);

Note make_note(const StoreId& store_id, EpochNumber epoch) {
  Note note{.epoch = epoch};
  note.checksum = hash_bytes(std::as_bytes(std::span(&note.epoch, 1)), hash_bytes(std::as_bytes(std::span(store_id))));
  return note;
}

}  // namespace

std::optional<EpochNumber> DurableMark::read(Storage& storage, const StoreId& store_id) {
  const auto contents = read_file(storage, kFile);
  if (!contents || contents->size() != sizeof(Note)) return std::nullopt;
  Note note;
  std::memcpy(&note, contents->data(), sizeof note);
  if (note.magic != kMarkMagic || note.checksum != make_note(store_id, note.epoch).checksum) return std::nullopt;
  return note.epoch;
}

DurableMark::DurableMark(Storage& storage, const StoreId& store_id, EpochNumber last) : store_id_(store_id), epoch_(last) {
  if (const auto known = read(storage, store_id)) {
    epoch_ = *known;
  } else {
    const Note note = make_note(store_id, last);
    (void)replace_file(storage, kFile, {reinterpret_cast<const char*>(&note), sizeof note});
  }
  if (auto file = storage.open(kFile, Storage::Access::read_write, Storage::Caching::buffered)) file_ = std::move(*file);
}

void DurableMark::set(EpochNumber epoch) {
  if (file_ == nullptr) return;
  Note note = make_note(store_id_, epoch);
  const iovec piece{&note, sizeof note};
  const bool written = file_->write(0, std::span(&piece, 1)).has_value();
  // After a power cut, what went on from before the damage must not look damaged again.
  if (written && epoch <= epoch_) (void)file_->sync();
  epoch_ = epoch;
}

}  // namespace perdure::store
