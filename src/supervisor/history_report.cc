#include "supervisor/history_report.h"

#include <algorithm>

#include "supervisor/writer.h"

namespace perdure::supervisor {

nlohmann::json history_report(const store::Store& store) {
  auto epochs = nlohmann::json::array();
  for (const auto& info : store.history()) {
    const EpochFigures figures = decode_figures(info.attributes);
    epochs.push_back({{"epoch", info.epoch},
                      {"time_ns", info.realtime_ns},
                      {"label", info.label},
                      {"pause_us", static_cast<double>(figures.pause.pause_ns) / 1000},
                      {"stop_us", static_cast<double>(figures.pause.stop_ns) / 1000},
                      {"objects_us", static_cast<double>(figures.pause.objects_ns) / 1000},
                      {"scan_us", static_cast<double>(figures.pause.scan_ns) / 1000},
                      {"copy_us", static_cast<double>(figures.pause.copy_ns) / 1000},
                      {"resume_us", static_cast<double>(figures.pause.resume_ns) / 1000},
                      {"queued_us", static_cast<double>(figures.queued_ns) / 1000},
                      {"dirty_pages", info.page_count},
                      {"stored_bytes", info.stored_bytes}});
  }
  return epochs;
}

std::optional<store::EpochInfo> newest_until(const std::vector<store::EpochInfo>& history, int64_t realtime_ns) {
  // The wall clock may have been set back between two of them.
  const auto found = std::find_if(history.rbegin(), history.rend(), [&](const auto& info) { return info.realtime_ns <= realtime_ns; });
  if (found == history.rend()) return {};
  return *found;
}

}  // namespace perdure::supervisor
