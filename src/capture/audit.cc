#include "capture/audit.h"

#include <fmt/format.h>
#include <google/protobuf/util/message_differencer.h>

#include <algorithm>

namespace perdure::capture {

namespace {

std::string kind_of(const posix::Object& object) {
  const auto* field = object.GetReflection()->GetOneofFieldDescriptor(object, object.GetDescriptor()->FindOneofByName("body"));
  return field == nullptr ? "empty" : field->name();
}

/// What differs, in a line; empty when nothing does. Whether an event waits in an epoll set may change while the group stands still: peers outside send.
std::string difference(const posix::Object& real, const posix::Object& stored) {
  std::string text;
  google::protobuf::util::MessageDifferencer differencer;
  differencer.IgnoreField(posix::EpollItem::descriptor()->FindFieldByName("ready"));
  differencer.ReportDifferencesToString(&text);
  if (differencer.Compare(real, stored)) return {};
  std::ranges::replace(text, '\n', ';');
  constexpr size_t kShownMax = 400;
  return text.substr(0, kShownMax);
}

}  // namespace

std::vector<std::string> Audit::compare(const store::View& view) const {
  auto differences = pages.compare(view);
  const auto& stored = view.objects();
  for (const auto& [id, real] : records) {
    const auto found = stored.find(id);
    posix::Object object;
    if (found == stored.end()) differences.push_back(fmt::format("object {} ({}): the store does not have it", id, kind_of(real)));
    else if (!object.ParseFromString(found->second)) differences.push_back(fmt::format("object {} ({}): the store's record is damaged", id, kind_of(real)));
    else if (const std::string differs = difference(real, object); !differs.empty()) {
      differences.push_back(fmt::format("object {} ({}): from what the group has to what the store has: {}", id, kind_of(real), differs));
    }
  }
  for (const auto& [id, record] : stored) {
    if (!records.contains(id)) differences.push_back(fmt::format("object {}: the group does not have it", id));
  }
  return differences;
}

}  // namespace perdure::capture
