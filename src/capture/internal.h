// What the parts of a Capturer share among themselves.
#pragma once

#include <deque>
#include <unordered_map>
#include <unordered_set>

#include "capture/capturer.h"

namespace perdure::capture {

/// An inode behind a mapping.
struct Capturer::MappedInode {
  uint64_t address;
  uint64_t number;
  posix::ObjectId object;
  std::string link;  ///< of /proc
  bool written;      ///< the group can write to it here
};

/// An address space of the group from epoch to epoch.
struct Capturer::Space {
  posix::ObjectId id = 0;
  uint64_t mm = 0;
  pid_t host_pid = 0;
  std::optional<memory::TrackedSpace> tracked;
  uint32_t lock_seq = 0;
  bool mapped = false;  ///< mappings were read at least once
  uint64_t userfaultfd_context = 0;  ///< in the kernel, of `tracked`
  std::vector<posix::Mapping> mappings;
  std::vector<MappedInode> inodes;  ///< behind the mappings
  memory::PageSet stored;  ///< pages that the store holds of it
  std::vector<memory::PageRun> guards;
  uint64_t written_pages = 0;  ///< in the last period
  uint64_t written_units = 0;  ///< about so many units of 2 MB that they lie in
  memory::ReadPages ahead;     ///< copied ahead of the pause, and not part of the next epoch yet; private pages are in `stored`
  std::vector<memory::PageRun> unsure;     ///< those met ahead of a pause since the forks of a group that stood still were taken
  std::vector<memory::PageRun> unchecked;  ///< those copied ahead before it was known that no file is read past the page cache
  int rest = 0, next_rest = 0;  ///< epochs until copying ahead is tried again, where it was wasted
  bool seen = false;
};

/// An inode whose contents are the store's, from epoch to epoch. Its open file keeps address and number from being used again.
struct Capturer::MemoryInode {
  MemoryInode(Fd file, posix::ObjectId object) : pages(std::move(file), object) {}
  memory::InodePages pages;
  posix::Inode record;
  int64_t changed_ns = 0;    ///< its ctime when it was last compared
  int64_t compared_ns = 0;   ///< CLOCK_REALTIME then
  bool compared = false;
};

/// What is gathered while the group stands still.
struct Capturer::PausedState {
  int64_t now_ns = 0;       ///< CLOCK_MONOTONIC
  int64_t boottime_ns = 0;  ///< at the same moment
  int64_t scan_begin_ns = 0;  ///< CLOCK_MONOTONIC
  posix::TaskTable tasks;
  std::set<uint32_t> exited_leaders;  ///< host PIDs of processes whose first thread is gone
  std::map<uint64_t, posix::FileSystemContext> directories;  ///< by fs_struct address
  std::map<uint64_t, posix::ObjectId> executables;           ///< by mm address
  std::map<uint64_t, posix::BlockedCall> calls;  ///< by task address: what each thread is blocked in
  std::map<uint64_t, posix::FileTable> tables;  ///< by files_struct address
  std::map<uint64_t, pid_t> table_owner;
  std::vector<std::pair<uint64_t, memory::ReadPages>> pages;  ///< by mm address: what was written to
  std::map<uint64_t, memory::Presence> presence;  ///< by mm address: of spaces that pages are gone from
  Records records;
  std::map<uint64_t, std::string> message_queue_names;  ///< by inode number
  std::set<uint64_t> open_message_queues;               ///< inode numbers
  std::unordered_map<uint64_t, posix::ObjectId> inodes;  ///< inode address -> object, this epoch
  std::set<posix::ObjectId> memory_inodes;     ///< those of them whose contents are the store's
  std::set<posix::ObjectId> read_only_memory;  ///< files of a tmpfs that nothing was met to write to yet
  bool mappings_are_outdated = false;  ///< a thread that woke has changed them
  std::set<posix::ObjectId> recalled;          ///< those behind unchanged mappings that were not looked at again
  std::unordered_set<posix::ObjectId> kept;  ///< objects that are not in `records`, since their records of the last epoch are right; open files aside
  struct CapturedFile {
    KnownFile* file;
    bool can_be_kept;
    Questions questions;
    posix::OpenFile::KindCase kind;
  };
  std::vector<CapturedFile> captured_files;  ///< open files whose records are new
  std::vector<const KnownFile*> kept_epolls;
  std::unordered_map<uint64_t, KnownThread> known_threads;  ///< by task address
  std::map<uint64_t, std::vector<KnownFile*>> table_files;  ///< by files_struct address: those of `tables`
  std::map<posix::ObjectId, std::string> links;  ///< where those were met

  void note_exited_leaders(const std::vector<posix::ThreadBrief>& threads) {
    for (const auto& thread : threads) {
      if (is_dead(thread) && thread.tid == thread.tgid) exited_leaders.insert(thread.host_tgid);
    }
  }
  /// The number under which /proc shows what a thread's process has: its PID, or the thread's own where the first thread is gone.
  pid_t process_handle(const posix::ThreadBrief& thread) const {
    return static_cast<pid_t>(exited_leaders.contains(thread.host_tgid) ? thread.host_tid : thread.host_tgid);
  }
};

/// A posix::CaptureContext for one epoch.
class Capturer::Context final : public posix::CaptureContext {
 public:
  Context(Capturer& capturer, PausedState& state) : capturer_(capturer), state_(state) {}
  posix::ObjectId file_object(uint64_t file_address) override;
  uint64_t file_behind(pid_t host_pid, int descriptor) override;
  Result<posix::ObjectId> inode_object(const posix::FileSource& source, const std::string& path) override;
  bool first_sight(uint64_t address) override;
  Result<std::string> path_of(const posix::FileSource& source) override;
  Result<Fd> duplicate(const posix::FileSource& source) override;
  Result<std::string> path_within_group(pid_t host_pid, uint32_t device, const std::string& path_in_file_system) override;
  Result<std::string> watched_file(pid_t host_pid, const posix::InotifyWatchRecord& watch) override;
  int64_t clock_offset_ns(int clock) const override;
  Result<posix::ObjectId> message_queue(const posix::FileSource& source) override;
  Result<const posix::SocketQueue*> socket_queue(uint64_t sock, const posix::FileSource* receiver) override;
  posix::SocketOptionCache& socket_options() override { return capturer_.socket_options_; }
  int standard_stream(const posix::FileSource& source) const override;
  bool is_group_terminal(const posix::FileSource& source) const override;

  /// A message with descriptors in it, and the socket that would receive it.
  struct InFlight {
    const posix::SocketQueue* queue;
    const posix::SocketMessageRecord* message;
    std::optional<posix::FileSource> receiver;
  };
  /// Takes the next message with descriptors that socket_queue() met; absent when there is none left.
  std::optional<InFlight> next_in_flight();
  /// From here on, what is asked is noted; null: no more.
  void note_questions(Questions* questions) { questions_ = questions; }
  /// Whether the answers are what they were. If so, the questions have been asked.
  bool answers_again(const posix::FileSource& source, const Questions& questions);
  /// What watched_file() told.
  WatchedFiles take_watched_files() { return std::move(watched_files_); }
  /// Keeps a descriptor until the capture is over.
  int keep(Fd fd) { return kept_.emplace_back(std::move(fd)).get(); }
  posix::FileRecord& keep(const posix::FileRecord& record) { return kept_records_.emplace_back(record); }

 private:
  void note(Questions::Question::About about, uint64_t address, uint64_t answer) {
    if (questions_ != nullptr) questions_->asked.push_back({about, address, answer});
  }
  void note_unrepeatable() {
    if (questions_ != nullptr) questions_->repeatable = false;
  }

  Capturer& capturer_;
  PausedState& state_;
  Questions* questions_ = nullptr;
  std::unordered_set<uint64_t> seen_;
  WatchedFiles watched_files_;
  std::map<pid_t, Fd> pidfds_;
  std::deque<posix::SocketQueue> queues_;
  std::deque<InFlight> in_flight_;
  std::deque<Fd> kept_;
  std::deque<posix::FileRecord> kept_records_;
};

}  // namespace perdure::capture
