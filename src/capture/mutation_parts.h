// What the mutations are made of: walks over records, and the mutations of open files, which mutation.cc lists.
#pragma once

#include "capture/mutation.h"

namespace perdure::capture {

using posix::Object;

/// Each of these calls `damage` with every record of one sort.
template <typename Damage>
void each_process(ObjectRecords& records, Damage damage) {
  for (auto& [id, object] : records) {
    if (object.has_process()) damage(*object.mutable_process());
  }
}

template <typename Damage>
void each_thread(ObjectRecords& records, Damage damage) {
  for (auto& [id, object] : records) {
    if (object.has_thread()) damage(*object.mutable_thread());
  }
}

template <typename Damage>
void each_file(ObjectRecords& records, Damage damage) {
  for (auto& [id, object] : records) {
    if (object.has_open_file()) damage(*object.mutable_open_file());
  }
}

template <typename Damage>
void each_unix_socket(ObjectRecords& records, Damage damage) {
  each_file(records, [&](posix::OpenFile& file) {
    if (file.has_unix_socket()) damage(*file.mutable_unix_socket());
  });
}

template <typename Damage>
void each_inet_socket(ObjectRecords& records, int type, Damage damage) {
  each_file(records, [&](posix::OpenFile& file) {
    if (file.has_inet_socket() && file.inet_socket().type() == type) damage(*file.mutable_inet_socket());
  });
}

void leave_out_pipes(ObjectRecords& records);
void leave_out_fifos(ObjectRecords& records);
void leave_out_unix_sockets(ObjectRecords& records);
void leave_out_unix_queues(ObjectRecords& records);
void leave_out_descriptors_in_flight(ObjectRecords& records);
void leave_out_tcp(ObjectRecords& records);
void leave_out_udp(ObjectRecords& records);
void leave_out_epoll_items(ObjectRecords& records);
void leave_out_event_counts(ObjectRecords& records);
void leave_out_timerfds(ObjectRecords& records);
void leave_out_signalfds(ObjectRecords& records);
void leave_out_watches(ObjectRecords& records);
void leave_out_pidfds(ObjectRecords& records);
void leave_out_file_locks(ObjectRecords& records);
void leave_out_positions(ObjectRecords& records);
void leave_out_file_flags(ObjectRecords& records);
void leave_out_descriptors(ObjectRecords& records);
void leave_out_posix_queues(ObjectRecords& records);
void leave_out_semaphores(ObjectRecords& records);
void leave_out_system_v_messages(ObjectRecords& records);

}  // namespace perdure::capture
