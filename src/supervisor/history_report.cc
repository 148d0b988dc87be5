#include "supervisor/history_report.h"

#include "supervisor/writer.h"

namespace perdure::supervisor {

namespace {

double microseconds(int64_t ns) { return static_cast<double>(ns) / 1000; }

}  // namespace

nlohmann::json pause_report(const capture::Figures& figures) {
  return {{"pause_us", microseconds(figures.pause_ns)}, {"stop_us", microseconds(figures.stop_ns)}, {"objects_us", microseconds(figures.objects_ns)},
          {"scan_us", microseconds(figures.scan_ns)},   {"copy_us", microseconds(figures.copy_ns)}, {"resume_us", microseconds(figures.resume_ns)}};
}

nlohmann::json history_report(const store::Store& store) {
  auto epochs = nlohmann::json::array();
  for (const auto& info : store.history()) {
    const EpochFigures figures = decode_figures(info.attributes);
    // Only its successor can tell when an epoch was durable.
    if (!epochs.empty() && figures.previous_lag_ns != 0) epochs.back()["durable_lag_us"] = microseconds(figures.previous_lag_ns);
    nlohmann::json epoch = pause_report(figures.pause);
    epoch.update({{"epoch", info.epoch},
                  {"time_ns", info.realtime_ns},
                  {"label", info.label},
                  {"queued_us", microseconds(figures.queued_ns)},
                  {"durable_lag_us", nullptr},
                  {"dirty_pages", info.page_count},
                  {"stored_bytes", info.stored_bytes}});
    epochs.push_back(std::move(epoch));
  }
  return epochs;
}

}  // namespace perdure::supervisor
