#include "cli/object_json.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <vector>

#include "posix/object_tree.h"
#include "posix/socket_option.pb.h"

namespace perdure::cli {

namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

bool is_printable(const std::string& bytes) {
  if (std::ranges::any_of(bytes, [](unsigned char byte) { return byte < ' ' || byte == '\x7f'; })) return false;
  try {
    (void)nlohmann::json(bytes).dump();
    return true;
  } catch (const nlohmann::json::type_error&) {
    return false;  // no UTF-8
  }
}

nlohmann::json bytes_json(const std::string& bytes) {
  if (is_printable(bytes)) return bytes;
  std::string digits;
  for (const unsigned char byte : bytes) digits += fmt::format("{:02x}", byte);
  return {{"hex", digits}};
}

bool is_packed_options(const FieldDescriptor& field) {
  return field.name() == "options" && (field.containing_type() == record::InetSocket::descriptor() || field.containing_type() == record::UnixSocket::descriptor());
}

/// Null where they are damaged.
nlohmann::json options_json(const std::string& packed) {
  record::SocketOptions options;
  if (!options.ParseFromString(packed)) return nullptr;
  nlohmann::json list = nlohmann::json::array();
  for (const auto& option : options.options()) list.push_back(object_json(option));
  return list;
}

/// `index`: -1 for a field that is not repeated.
nlohmann::json value_json(const Message& message, const FieldDescriptor& field, int index) {
  const auto& fields = *message.GetReflection();
  const auto get = [&](auto one, auto repeated) { return index < 0 ? (fields.*one)(message, &field) : (fields.*repeated)(message, &field, index); };
  using Reflection = google::protobuf::Reflection;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL: return get(&Reflection::GetBool, &Reflection::GetRepeatedBool);
    case FieldDescriptor::CPPTYPE_INT32: return get(&Reflection::GetInt32, &Reflection::GetRepeatedInt32);
    case FieldDescriptor::CPPTYPE_UINT32: return get(&Reflection::GetUInt32, &Reflection::GetRepeatedUInt32);
    case FieldDescriptor::CPPTYPE_INT64: return get(&Reflection::GetInt64, &Reflection::GetRepeatedInt64);
    case FieldDescriptor::CPPTYPE_UINT64: return get(&Reflection::GetUInt64, &Reflection::GetRepeatedUInt64);
    case FieldDescriptor::CPPTYPE_ENUM: return get(&Reflection::GetEnum, &Reflection::GetRepeatedEnum)->name();
    case FieldDescriptor::CPPTYPE_STRING:
      if (is_packed_options(field)) return options_json(fields.GetString(message, &field));
      return bytes_json(get(&Reflection::GetString, &Reflection::GetRepeatedString));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return object_json(index < 0 ? fields.GetMessage(message, &field) : fields.GetRepeatedMessage(message, &field, index));
    default: return nullptr;  // no .proto file has floating point
  }
}

}  // namespace

nlohmann::json object_json(const Message& message) {
  std::vector<const FieldDescriptor*> present;
  message.GetReflection()->ListFields(message, &present);
  nlohmann::json object = nlohmann::json::object();
  for (const FieldDescriptor* field : present) {
    nlohmann::json& value = object[field->name()];
    if (!field->is_repeated()) {
      value = value_json(message, *field, -1);
      continue;
    }
    for (int index = 0; index < message.GetReflection()->FieldSize(message, field); ++index) value.push_back(value_json(message, *field, index));
  }
  return object;
}

}  // namespace perdure::cli
