// Open files and inter-process communication.
#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>

#include "capture/mutation_parts.h"

namespace perdure::capture {

namespace {

/// An end that nothing holds together with the other one.
void separate(uint64_t id, posix::Pipe& pipe) {
  pipe.set_buffer_id(id);
  pipe.clear_capacity_bytes();
  pipe.clear_buffers();
}

void leave_out_inet_sockets(ObjectRecords& records, int type) {
  each_inet_socket(records, type, [](posix::InetSocket& socket) {
    posix::InetSocket bare;
    bare.set_family(socket.family());
    bare.set_type(socket.type());
    bare.set_protocol(socket.protocol());
    bare.set_peek_offset(-1);
    socket = std::move(bare);
  });
}

}  // namespace

void leave_out_pipes(ObjectRecords& records) {
  for (auto& [id, object] : records) {
    if (object.has_open_file() && object.open_file().has_pipe() && object.open_file().pipe().fifo_path().empty()) {
      separate(id, *object.mutable_open_file()->mutable_pipe());
    }
  }
}

void leave_out_fifos(ObjectRecords& records) {
  for (auto& [id, object] : records) {
    if (object.has_open_file() && object.open_file().has_pipe() && !object.open_file().pipe().fifo_path().empty()) {
      separate(id, *object.mutable_open_file()->mutable_pipe());
    }
  }
}

void leave_out_unix_sockets(ObjectRecords& records) {
  each_unix_socket(records, [](posix::UnixSocket& socket) {
    posix::UnixSocket bare;
    bare.set_socket(socket.socket());
    bare.set_type(socket.type());
    bare.set_peek_offset(-1);
    socket = std::move(bare);
  });
}

void leave_out_unix_queues(ObjectRecords& records) {
  each_unix_socket(records, [](posix::UnixSocket& socket) {
    socket.clear_messages();
    socket.clear_connections();
  });
}

void leave_out_descriptors_in_flight(ObjectRecords& records) {
  each_unix_socket(records, [](posix::UnixSocket& socket) {
    for (auto& message : *socket.mutable_messages()) message.clear_open_files();
    for (auto& connection : *socket.mutable_connections()) {
      for (auto& message : *connection.mutable_messages()) message.clear_open_files();
    }
  });
}

void leave_out_tcp(ObjectRecords& records) { leave_out_inet_sockets(records, SOCK_STREAM); }
void leave_out_udp(ObjectRecords& records) { leave_out_inet_sockets(records, SOCK_DGRAM); }

void leave_out_epoll_items(ObjectRecords& records) {
  each_file(records, [](posix::OpenFile& file) {
    if (file.has_epoll()) file.mutable_epoll()->clear_items();
  });
}

void leave_out_event_counts(ObjectRecords& records) {
  each_file(records, [](posix::OpenFile& file) {
    if (file.has_eventfd()) file.mutable_eventfd()->Clear();
  });
}

void leave_out_timerfds(ObjectRecords& records) {
  each_file(records, [](posix::OpenFile& file) {
    if (!file.has_timerfd()) return;
    file.mutable_timerfd()->clear_armed();
    file.mutable_timerfd()->clear_rests();
    file.mutable_timerfd()->clear_unread_ticks();
  });
}

void leave_out_signalfds(ObjectRecords& records) {
  each_file(records, [](posix::OpenFile& file) {
    if (file.has_signalfd()) file.mutable_signalfd()->clear_accepted();
  });
}

void leave_out_watches(ObjectRecords& records) {
  each_file(records, [](posix::OpenFile& file) {
    if (file.has_inotify()) file.mutable_inotify()->Clear();
  });
  for (auto& [id, object] : records) {
    if (object.has_descriptor_table()) object.mutable_descriptor_table()->clear_directory_watches();
  }
}

/// A live process's pidfd becomes that of a dead one, and the other way round.
void leave_out_pidfds(ObjectRecords& records) {
  each_file(records, [](posix::OpenFile& file) {
    if (file.has_pidfd()) file.mutable_pidfd()->set_pid(file.pidfd().pid() == 0 ? 1 : 0);
  });
}

void leave_out_file_locks(ObjectRecords& records) {
  each_file(records, [](posix::OpenFile& file) { file.clear_locks(); });
  for (auto& [id, object] : records) {
    if (object.has_descriptor_table()) object.mutable_descriptor_table()->clear_locks();
  }
}

void leave_out_positions(ObjectRecords& records) {
  each_file(records, [](posix::OpenFile& file) { file.clear_position(); });
}

void leave_out_file_flags(ObjectRecords& records) {
  each_file(records, [](posix::OpenFile& file) { file.set_flags(file.flags() & (O_ACCMODE | O_DIRECTORY)); });
  for (auto& [id, object] : records) {
    if (!object.has_descriptor_table()) continue;
    for (auto& descriptor : *object.mutable_descriptor_table()->mutable_descriptors()) descriptor.clear_close_on_exec();
  }
}

/// Only the standard streams are left.
void leave_out_descriptors(ObjectRecords& records) {
  constexpr int kStandardStreams = 3;
  for (auto& [id, object] : records) {
    if (!object.has_descriptor_table()) continue;
    auto& descriptors = *object.mutable_descriptor_table()->mutable_descriptors();
    const auto others = std::ranges::remove_if(descriptors, [](const auto& descriptor) { return descriptor.number() >= kStandardStreams; });
    descriptors.erase(others.begin(), others.end());
  }
}

// Inter-process communication

void leave_out_posix_queues(ObjectRecords& records) {
  for (auto& [id, object] : records) {
    if (!object.has_message_queue()) continue;
    object.mutable_message_queue()->clear_messages();
    object.mutable_message_queue()->clear_notify_pid();
  }
}

void leave_out_semaphores(ObjectRecords& records) {
  for (auto& [id, object] : records) {
    if (!object.has_system_v_semaphores()) continue;
    for (auto& value : *object.mutable_system_v_semaphores()->mutable_values()) value = 0;
    object.mutable_system_v_semaphores()->clear_undos();
  }
}

void leave_out_system_v_messages(ObjectRecords& records) {
  for (auto& [id, object] : records) {
    if (object.has_system_v_messages()) object.mutable_system_v_messages()->clear_messages();
  }
}

}  // namespace perdure::capture
