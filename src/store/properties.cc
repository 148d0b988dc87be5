#include "store/properties.h"

#include <fmt/format.h>

#include <cctype>
#include <cstdlib>
#include <cstring>

namespace perdure::store {
namespace {

constexpr std::string_view kPropertyMagic = "PrdrProp";

constexpr std::string_view kPrefix = "property.";

std::string property_file(const std::string& name) {
  std::string file(kPrefix);
  for (const char c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_') file += c;
    else file += fmt::format("%{:02x}", static_cast<unsigned char>(c));
  }
  return file;
}

/// The name that property_file made `file` of; nullopt: it is none of its.
std::optional<std::string> property_name(const std::string& file) {
  if (!file.starts_with(kPrefix)) return std::nullopt;
  std::string name;
  for (size_t at = kPrefix.size(); at < file.size(); ++at) {
    if (file[at] != '%') {
      name += file[at];
      continue;
    }
    name += static_cast<char>(std::strtoul(file.substr(at + 1, 2).c_str(), nullptr, 16));
    at += 2;
  }
  return property_file(name) == file ? std::optional(name) : std::nullopt;
}

/// Covers the store and the name, so that no other value can pass for this one.
uint64_t checksum_of(const StoreId& store_id, std::string_view name, std::string_view value) {
  const uint64_t seed = hash_bytes(std::as_bytes(std::span(name)), hash_bytes(std::as_bytes(std::span(store_id))));
  return hash_bytes(std::as_bytes(std::span(value)), seed);
}

}  // namespace

namespace {

/// Where there is no room for a second file: in the sector that the first one has, which a disk writes as a whole.
Result<void> overwrite(Storage& storage, const std::string& name, std::string contents, Error no_room) {
  constexpr size_t kSector = 512;
  const auto file = storage.open(name, Storage::Access::read_write, Storage::Caching::buffered);
  const uint64_t size = file ? TRY((*file)->size()) : 0;
  if (size == 0 || contents.size() < size || contents.size() > kSector) return std::unexpected(std::move(no_room));
  const iovec piece{contents.data(), contents.size()};
  TRY((*file)->write(0, std::span(&piece, 1)));
  return (*file)->sync();
}

}  // namespace

Result<void> write_property(Storage& storage, const StoreId& store_id, const std::string& name, const std::string& value) {
  const uint64_t checksum = checksum_of(store_id, name, value);
  std::string contents(kPropertyMagic);
  contents.append(reinterpret_cast<const char*>(&checksum), sizeof checksum);
  contents += value;
  auto replaced = replace_file(storage, property_file(name), contents);
  const bool full = !replaced && (replaced.error().error_number == ENOSPC || replaced.error().error_number == EDQUOT);
  return full ? overwrite(storage, property_file(name), std::move(contents), std::move(replaced).error()) : replaced;
}

Result<std::optional<std::string>> read_property(Storage& storage, const StoreId& store_id, const std::string& name) {
  auto contents = read_file(storage, property_file(name));
  if (!contents && contents.error().error_number == ENOENT) return std::nullopt;
  if (!contents) return std::unexpected(std::move(contents).error());
  constexpr size_t kHead = 16;
  uint64_t checksum = 0;
  if (contents->size() >= kHead) std::memcpy(&checksum, contents->data() + kPropertyMagic.size(), sizeof checksum);
  if (contents->size() < kHead || !contents->starts_with(kPropertyMagic) ||
      checksum != checksum_of(store_id, name, std::string_view(*contents).substr(kHead)))
    return failure(storage.path(property_file(name)) + ": damaged");
  return contents->substr(kHead);
}

Result<std::vector<std::string>> damaged_properties(Storage& storage, const StoreId& store_id) {
  std::vector<std::string> damage;
  for (const std::string& file : TRY(storage.list())) {
    const auto name = property_name(file);
    if (!name) continue;
    if (const auto value = read_property(storage, store_id, *name); !value) damage.push_back(value.error().message());
  }
  return damage;
}

}  // namespace perdure::store
