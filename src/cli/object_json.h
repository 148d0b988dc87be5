// Objects of a checkpoint as JSON.
#pragma once

#include <google/protobuf/message.h>

#include <nlohmann/json.hpp>

namespace perdure::cli {

/// All fields that are set, by their names in the .proto files; enumerators by name. What the kernel keeps as bytes is text where it is printable
/// UTF-8 (names, paths), and else {"hex": "..."}.
nlohmann::json object_json(const google::protobuf::Message& message);

}  // namespace perdure::cli
