#include "supervisor/history_report.h"

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

}  // namespace perdure::supervisor
