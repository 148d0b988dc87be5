// CLOCK_MONOTONIC and CLOCK_BOOTTIME never go back, and go on from where they were: the time between the kill and the restore is not in them.
// CLOCK_REALTIME has it.
// covers: clocks
// downtime: 3
#include "check.h"

static int64_t last_monotonic, last_boottime;

static void look(void* argument) {
  (void)argument;
  const int64_t monotonic = clock_now_ns(CLOCK_MONOTONIC), boottime = clock_now_ns(CLOCK_BOOTTIME);
  CHECK(monotonic >= last_monotonic, "CLOCK_MONOTONIC went back by %lld ns", (long long)(last_monotonic - monotonic));
  CHECK(boottime >= last_boottime, "CLOCK_BOOTTIME went back by %lld ns", (long long)(last_boottime - boottime));
  last_monotonic = monotonic, last_boottime = boottime;
}

/// By how much more CLOCK_REALTIME has advanced than `clock` since the difference was `before`, in milliseconds.
static long long behind_ms(clockid_t clock, int64_t before) { return (clock_now_ns(CLOCK_REALTIME) - clock_now_ns(clock) - before) / 1000000; }

int main(int argc, char** argv) {
  begin(argc, argv);
  const int64_t monotonic_before = clock_now_ns(CLOCK_REALTIME) - clock_now_ns(CLOCK_MONOTONIC);
  const int64_t boottime_before = clock_now_ns(CLOCK_REALTIME) - clock_now_ns(CLOCK_BOOTTIME);
  look(NULL);
  checkpoint_while(look, NULL);
  for (int i = 0; i < 1000; i++) look(NULL);
  const long long down_ms = atof(read_text(scratch_path("go"))) * 1000;
  // The kill and the start of the restore take time too; without any downtime, the clocks advance together.
  const long long longest_ms = down_ms == 0 ? 100 : down_ms + 60000;
  const long long monotonic_ms_behind = behind_ms(CLOCK_MONOTONIC, monotonic_before), boottime_ms_behind = behind_ms(CLOCK_BOOTTIME, boottime_before);
  CHECK(monotonic_ms_behind > down_ms - 100 && monotonic_ms_behind < longest_ms, "CLOCK_MONOTONIC lags %lld ms behind, after %lld ms down",
        monotonic_ms_behind, down_ms);
  CHECK(boottime_ms_behind > down_ms - 100 && boottime_ms_behind < longest_ms, "CLOCK_BOOTTIME lags %lld ms behind, after %lld ms down",
        boottime_ms_behind, down_ms);
  return 0;
}
