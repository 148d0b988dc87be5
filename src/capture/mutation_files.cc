// Open files and inter-process communication.
#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>

#include "capture/mutation_parts.h"

namespace perdure::capture {

namespace {

using posix::OpenFile;

/// Each becomes an end that nothing holds together with the other one.
void separate_pipes(ObjectRecords& records, bool named) {
  for (auto& [id, object] : records) {
    if (!object.has_open_file() || !object.open_file().has_pipe() || object.open_file().pipe().fifo_path().empty() == named) continue;
    posix::Pipe& pipe = *object.mutable_open_file()->mutable_pipe();
    pipe.set_buffer_id(id);
    pipe.clear_capacity_bytes();
    pipe.clear_buffers();
  }
}

void leave_out_inet_sockets(ObjectRecords& records, int type) {
  each_file_of(records, &OpenFile::has_inet_socket, &OpenFile::mutable_inet_socket, [&](posix::InetSocket& socket) {
    if (socket.type() != type) return;
    posix::InetSocket bare;
    bare.set_family(socket.family());
    bare.set_type(socket.type());
    bare.set_protocol(socket.protocol());
    bare.set_peek_offset(-1);
    socket = std::move(bare);
  });
}

template <typename Damage>
void each_unix_socket(ObjectRecords& records, Damage damage) {
  each_file_of(records, &OpenFile::has_unix_socket, &OpenFile::mutable_unix_socket, damage);
}

}  // namespace

void leave_out_pipes(ObjectRecords& records) { separate_pipes(records, false); }
void leave_out_fifos(ObjectRecords& records) { separate_pipes(records, true); }

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
  each_file_of(records, &OpenFile::has_epoll, &OpenFile::mutable_epoll, [](posix::Epoll& epoll) { epoll.clear_items(); });
}

void leave_out_event_counts(ObjectRecords& records) {
  each_file_of(records, &OpenFile::has_eventfd, &OpenFile::mutable_eventfd, [](posix::EventFd& eventfd) { eventfd.Clear(); });
}

void leave_out_timerfds(ObjectRecords& records) {
  each_file_of(records, &OpenFile::has_timerfd, &OpenFile::mutable_timerfd, [](posix::TimerFd& timerfd) {
    timerfd.clear_armed();
    timerfd.clear_rests();
    timerfd.clear_unread_ticks();
  });
}

void leave_out_signalfds(ObjectRecords& records) {
  each_file_of(records, &OpenFile::has_signalfd, &OpenFile::mutable_signalfd, [](posix::SignalFd& signalfd) { signalfd.clear_accepted(); });
}

void leave_out_watches(ObjectRecords& records) {
  each_file_of(records, &OpenFile::has_inotify, &OpenFile::mutable_inotify, [](posix::Inotify& inotify) { inotify.Clear(); });
  each_table(records, [](posix::DescriptorTable& table) { table.clear_directory_watches(); });
}

/// A live process's pidfd becomes that of a dead one, and the other way round.
void leave_out_pidfds(ObjectRecords& records) {
  each_file_of(records, &OpenFile::has_pidfd, &OpenFile::mutable_pidfd, [](posix::PidFd& pidfd) { pidfd.set_pid(pidfd.pid() == 0 ? 1 : 0); });
}

void leave_out_file_locks(ObjectRecords& records) {
  each_file(records, [](OpenFile& file) { file.clear_locks(); });
  each_table(records, [](posix::DescriptorTable& table) { table.clear_locks(); });
}

void leave_out_positions(ObjectRecords& records) {
  each_file(records, [](OpenFile& file) { file.clear_position(); });
}

void leave_out_file_flags(ObjectRecords& records) {
  each_file(records, [](OpenFile& file) { file.set_flags(file.flags() & (O_ACCMODE | O_DIRECTORY)); });
  each_table(records, [](posix::DescriptorTable& table) {
    for (auto& descriptor : *table.mutable_descriptors()) descriptor.clear_close_on_exec();
  });
}

/// Only the standard streams are left.
void leave_out_descriptors(ObjectRecords& records) {
  constexpr int kStandardStreams = 3;
  each_table(records, [](posix::DescriptorTable& table) {
    auto& descriptors = *table.mutable_descriptors();
    const auto others = std::ranges::remove_if(descriptors, [](const auto& descriptor) { return descriptor.number() >= kStandardStreams; });
    descriptors.erase(others.begin(), others.end());
  });
}

// Inter-process communication

void leave_out_posix_queues(ObjectRecords& records) {
  each(records, &Object::has_message_queue, &Object::mutable_message_queue, [](record::MessageQueue& queue) {
    queue.clear_messages();
    queue.clear_notify_pid();
  });
}

void leave_out_semaphores(ObjectRecords& records) {
  each(records, &Object::has_system_v_semaphores, &Object::mutable_system_v_semaphores, [](record::SystemVSemaphores& semaphores) {
    for (auto& value : *semaphores.mutable_values()) value = 0;
    semaphores.clear_undos();
  });
}

void leave_out_system_v_messages(ObjectRecords& records) {
  each(records, &Object::has_system_v_messages, &Object::mutable_system_v_messages,
       [](record::SystemVMessages& queue) { queue.clear_messages(); });
}

}  // namespace perdure::capture
