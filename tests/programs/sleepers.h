// Threads that sleep, each in a system call of its own, while the checkpoint comes.
#pragma once

#include "check.h"

struct sleeper {
  const char* name;
  long number;                  // the system call it is to be found in
  long (*call)(void* argument); // returns what the call returned, -errno on failure
  void* argument;
  long result;
  int64_t elapsed_ms;
  volatile pid_t tid;
  volatile bool returned;
  pthread_t thread;
};

#define SLEEPER(what, system_call, function, pointer) \
  { .name = what, .number = system_call, .call = function, .argument = pointer }

static MAYBE_UNUSED void* sleeper_main(void* argument) {
  struct sleeper* sleeper = argument;
  const int64_t started_ms = monotonic_ms();
  sleeper->tid = gettid();
  errno = 0;
  const long result = sleeper->call(sleeper->argument);
  sleeper->result = result == -1 ? -errno : result;
  sleeper->elapsed_ms = monotonic_ms() - started_ms;
  sleeper->returned = true;
  return NULL;
}

/// Starts them, and returns when each is asleep in its system call.
static MAYBE_UNUSED void start_sleepers(struct sleeper* sleepers, int count) {
  for (int i = 0; i < count; i++) CHECK_EQUAL(pthread_create(&sleepers[i].thread, NULL, sleeper_main, &sleepers[i]), 0);
  for (int i = 0; i < count; i++) {
    while (!sleepers[i].tid) sleep_ms(1);
    wait_asleep_in(getpid(), sleepers[i].tid, sleepers[i].number);
  }
}

static MAYBE_UNUSED void expect_asleep(struct sleeper* sleepers, int count) {
  sleep_ms(30);
  for (int i = 0; i < count; i++)
    CHECK(!sleepers[i].returned, "%s returned %ld though nothing had happened", sleepers[i].name, sleepers[i].result);
}

/// Waits for the call to return and checks what.
static MAYBE_UNUSED void expect_returns(struct sleeper* sleeper, long expected) {
  struct timespec deadline;
  clock_gettime(CLOCK_REALTIME, &deadline);
  deadline.tv_sec += 10;
  CHECK(pthread_timedjoin_np(sleeper->thread, NULL, &deadline) == 0, "%s never returned", sleeper->name);
  CHECK(sleeper->result == expected, "%s returned %ld, not %ld", sleeper->name, sleeper->result, expected);
}
