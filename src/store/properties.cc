#include "store/properties.h"

#include <fmt/format.h>

#include <cctype>
#include <cstring>

namespace perdure::store {
namespace {

constexpr std::string_view kMagic = "PrdrProp";

std::string property_file(const std::string& name) {
  std::string file = "property.";
  for (const char c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_') file += c;
    else file += fmt::format("%{:02x}", static_cast<unsigned char>(c));
  }
  return file;
}

/// Covers the store and the name, so that no other value can pass for this one.
uint64_t checksum_of(const StoreId& store_id, std::string_view name, std::string_view value) {
  const uint64_t seed = hash_bytes(std::as_bytes(std::span(name)), hash_bytes(std::as_bytes(std::span(store_id))));
  return hash_bytes(std::as_bytes(std::span(value)), seed);
}

}  // namespace

Result<void> write_property(Storage& storage, const StoreId& store_id, const std::string& name, const std::string& value) {
  const uint64_t checksum = checksum_of(store_id, name, value);
  std::string contents(kMagic);
  contents.append(reinterpret_cast<const char*>(&checksum), sizeof checksum);
  return replace_file(storage, property_file(name), contents + value);
}

Result<std::optional<std::string>> read_property(Storage& storage, const StoreId& store_id, const std::string& name) {
  auto contents = read_file(storage, property_file(name));
  if (!contents && contents.error().error_number == ENOENT) return std::nullopt;
  if (!contents) return std::unexpected(std::move(contents).error());
  constexpr size_t kHead = 16;
  uint64_t checksum = 0;
  if (contents->size() >= kHead) std::memcpy(&checksum, contents->data() + kMagic.size(), sizeof checksum);
  if (contents->size() < kHead || !contents->starts_with(kMagic) ||
      checksum != checksum_of(store_id, name, std::string_view(*contents).substr(kHead)))
    return failure(storage.path(property_file(name)) + ": damaged");
  return contents->substr(kHead);
}

}  // namespace perdure::store
