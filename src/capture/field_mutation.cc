#include "capture/field_mutation.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <set>

namespace perdure::capture {

namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

std::string name_of(const FieldDescriptor& field) { return field.containing_type()->name() + "." + field.name(); }

void add_messages(const Descriptor& message, std::set<const Descriptor*>& found) {
  for (int i = 0; i < message.field_count(); ++i) {
    const Descriptor* inner = message.field(i)->message_type();
    if (inner != nullptr && found.insert(inner).second) add_messages(*inner, found);
  }
}

/// Only what is set can hold anything to be cleared.
void clear_in(Message& message, std::string_view name) {
  const auto& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (name_of(*field) == name) {
      reflection.ClearField(&message, field);
    } else if (field->message_type() != nullptr && field->is_repeated()) {
      for (int i = 0; i < reflection.FieldSize(message, field); ++i) clear_in(*reflection.MutableRepeatedMessage(&message, field, i), name);
    } else if (field->message_type() != nullptr) {
      clear_in(*reflection.MutableMessage(&message, field), name);
    }
  }
}

}  // namespace

std::vector<std::string> record_fields() {
  std::set<const Descriptor*> messages;
  add_messages(*posix::Object::descriptor(), messages);
  std::vector<std::string> names;
  for (const Descriptor* message : messages) {
    for (int i = 0; i < message->field_count(); ++i) names.push_back(name_of(*message->field(i)));
  }
  return names;
}

void leave_out_field(std::string_view name, ObjectRecords& records) {
  for (auto& [id, object] : records) clear_in(object, name);
}

}  // namespace perdure::capture
