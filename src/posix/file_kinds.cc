#include <array>

#include "posix/file_kind.h"
#include "posix/kinds.h"

namespace perdure::posix {

std::span<const FileKind* const> file_kinds() {
  static const std::array kKinds{
      standard_stream_kind(), path_descriptor_kind(), regular_file_kind(), pipe_kind(),    epoll_kind(),   eventfd_kind(),   timerfd_kind(),
      signalfd_kind(),        inotify_kind(),         pidfd_kind(),        device_kind(), proc_file_kind(), message_queue_kind(), unix_socket_kind(), inet_socket_kind(),
      terminal_kind(),
  };
  return kKinds;
}

const FileKind* file_kind_of(const OpenFile& file) {
  for (const FileKind* kind : file_kinds()) {
    if (kind->record_case() == file.kind_case()) return kind;
  }
  return nullptr;
}

}  // namespace perdure::posix
