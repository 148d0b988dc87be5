// What the mutations are made of: walks over records, and the mutations of open files, which mutation.cc lists.
#pragma once

#include "capture/mutation.h"

namespace perdure::capture {

using posix::Object;

/// Calls `damage` with every record of one sort: that which `has` says is there and `get` gives.
template <typename Record, typename Damage>
void each(ObjectRecords& records, bool (Object::*has)() const, Record* (Object::*get)(), Damage damage) {
  for (auto& [id, object] : records) {
    if ((object.*has)()) damage(*(object.*get)());
  }
}

template <typename Damage>
void each_process(ObjectRecords& records, Damage damage) {
  each(records, &Object::has_process, &Object::mutable_process, damage);
}

template <typename Damage>
void each_thread(ObjectRecords& records, Damage damage) {
  each(records, &Object::has_thread, &Object::mutable_thread, damage);
}

template <typename Damage>
void each_address_space(ObjectRecords& records, Damage damage) {
  each(records, &Object::has_address_space, &Object::mutable_address_space, damage);
}

template <typename Damage>
void each_file(ObjectRecords& records, Damage damage) {
  each(records, &Object::has_open_file, &Object::mutable_open_file, damage);
}

template <typename Damage>
void each_table(ObjectRecords& records, Damage damage) {
  each(records, &Object::has_descriptor_table, &Object::mutable_descriptor_table, damage);
}

/// The same with the open files of one kind, given what the kind has of its own.
template <typename Kind, typename Damage>
void each_file_of(ObjectRecords& records, bool (posix::OpenFile::*has)() const, Kind* (posix::OpenFile::*get)(), Damage damage) {
  each_file(records, [&](posix::OpenFile& file) {
    if ((file.*has)()) damage(*(file.*get)());
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
