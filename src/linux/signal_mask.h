// Threads that leave the signals of their process to others.
#pragma once

#include <pthread.h>

#include <csignal>
#include <thread>
#include <utility>

namespace perdure {

/// A thread in which every signal is blocked: those of the process are for the threads to take that wait for them.
template <typename Body>
std::thread thread_without_signals(Body body) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::move(body));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace perdure
