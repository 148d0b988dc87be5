// The registry's list: one function per kind of open file, defined in the file of its name.
#pragma once

namespace perdure::posix {

class FileKind;

const FileKind* standard_stream_kind();
const FileKind* regular_file_kind();
const FileKind* pipe_kind();
const FileKind* epoll_kind();
const FileKind* eventfd_kind();
const FileKind* device_kind();
const FileKind* inet_socket_kind();
const FileKind* unix_socket_kind();
const FileKind* timerfd_kind();
const FileKind* signalfd_kind();
const FileKind* inotify_kind();
const FileKind* pidfd_kind();
const FileKind* proc_file_kind();
const FileKind* path_descriptor_kind();
const FileKind* message_queue_kind();
const FileKind* terminal_kind();

}  // namespace perdure::posix
