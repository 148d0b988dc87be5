// POSIX timers (timer_create).
#pragma once

#include "posix/record.bpf.h"

#ifdef __cplusplus
namespace perdure::posix {
#endif

/// One timer of a process.
struct PosixTimerRecord {
  struct RecordHeader header;
  uint64_t signal;                    ///< the process: ProcessRecord::signal
  uint64_t timer;                     ///< identity
  uint64_t active;                    ///< the kernel timer runs; it rests while a periodic timer's signal is pending
  int64_t remaining_ns;               ///< until the next expiry, since the last one when negative; not for CPU-time clocks
  uint64_t cpu_expires_ns;            ///< of a CPU-time clock: the value of that clock at which it expires
  uint64_t interval_ns;
  uint64_t value;                     ///< sigev_value
  int64_t overrun, last_overrun;
  int32_t id;
  int32_t clock;                      ///< CLOCK_*, or a dynamic or CPU-time clock id (negative)
  uint32_t notify;                    ///< SIGEV_*
  uint32_t signal_number;
  uint32_t thread, host_thread;       ///< of SIGEV_THREAD_ID: who is signalled; else the process
};

#ifdef __cplusplus
}  // namespace perdure::posix
#endif

#ifdef __bpf__
#include "posix/event_descriptors.bpf.h"
#include "posix/process.bpf.h"

enum { kClockBoottimeAlarm = 9, kClockProcessCpu = 2, kClockThreadCpu = 3, kSignalValueOffset = 24 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct cpu_timer {
  struct timerqueue_node node;
};
struct k_itimer {
  struct hlist_node list;
  int it_id, it_clock, it_sigev_notify;
  int64_t it_overrun, it_overrun_last, it_interval;
  struct pid *it_pid;
  struct sigqueue sigq;
  union {
    struct {
      struct hrtimer timer;
    } real;
    struct cpu_timer cpu;
    struct {
      struct alarm alarmtimer;
    } alarm;
  } it;
};
/// Up to 6.11 the signal's queue entry lay apart.
struct k_itimer___apart {
  struct sigqueue *sigq;
};
#pragma clang attribute pop

static __always_inline bool is_cpu_clock(int clock) { return clock < 0 || clock == kClockProcessCpu || clock == kClockThreadCpu; }

static __always_inline void fill_expiry(struct Pass *pass, struct k_itimer *timer, struct PosixTimerRecord *record) {
  struct TimerReading reading = {};
  record->cpu_expires_ns = 0;
  if (is_cpu_clock(record->clock)) record->cpu_expires_ns = timer->it.cpu.node.expires;
  else if (record->clock == kClockRealtimeAlarm || record->clock == kClockBoottimeAlarm)
    fill_timer(pass, &timer->it.alarm.alarmtimer.timer, &reading);
  else fill_timer(pass, &timer->it.real.timer, &reading);
  record->active = reading.active;
  record->remaining_ns = reading.remaining_ns;
}

static __always_inline uint64_t timer_signal(uint64_t timer) {
  struct k_itimer___apart *apart = (void *)KERNEL(k_itimer, timer);
  if (bpf_core_field_exists(((struct k_itimer *)0)->sigq.info)) return timer + FIELD_OFFSET(k_itimer, sigq.info);
  return ADDRESS(apart, sigq) + FIELD_OFFSET(sigqueue, info);
}

static __always_inline bool put_posix_timer(struct Pass *pass, uint64_t address, uint64_t signal, uint32_t level) {
  struct PosixTimerRecord *record = begin_record(pass, sizeof(*record), 0);
  if (!record) return false;
  struct k_itimer *timer = KERNEL(k_itimer, address);
  record->signal = signal;
  record->timer = address;
  record->id = timer->it_id;
  record->clock = timer->it_clock;
  record->notify = timer->it_sigev_notify;
  record->overrun = timer->it_overrun;
  record->last_overrun = timer->it_overrun_last;
  record->interval_ns = timer->it_interval;
  record->thread = pid_number(timer->it_pid, level);
  record->host_thread = pid_number(timer->it_pid, host_level());
  uint64_t information = timer_signal(address);
  record->signal_number = (uint32_t)word_at(information);
  record->value = word_at(information + kSignalValueOffset);
  fill_expiry(pass, timer, record);
  finish_record(pass, &record->header, kPosixTimerRecord, sizeof(*record));
  return true;
}

/// The timers of a process, of which request->next have been told. False when the output is full.
static __always_inline bool put_posix_timers(struct Pass *pass, struct signal_struct *signal, uint64_t address, uint32_t level) {
  uint64_t end = posix_timers_end(signal), skip = pass->request->next;
  uint64_t at = word_at(address + FIELD_OFFSET(signal_struct, posix_timers));
  REPEAT(kPosixTimerLimit) {
    if (!at || at == end) break;
    uint64_t timer = at - FIELD_OFFSET(k_itimer, list);
    at = word_at(at);
    if (skip) {
      skip--;
      continue;
    }
    if (!put_posix_timer(pass, timer, address, level)) return false;
    pass->request->next++;
  }
  return true;
}
#endif
