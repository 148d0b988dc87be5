// One checkpoint of a group: stop, read, copy, go on; then the object tree and what changed in it.
#pragma once

#include <sys/shm.h>
#include <sys/stat.h>

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "base/result.h"
#include "capture/audit.h"
#include "capture/identities.h"
#include "capture/known_files.h"
#include "capture/outside_files.h"
#include "capture/sleeps.h"
#include "capture/stopped_group.h"
#include "linux/mount_watch.h"
#include "linux/process.h"
#include "memory/fork_watch.h"
#include "memory/inode_pages.h"
#include "memory/lazy_fill.h"
#include "memory/page_reader.h"
#include "memory/tracked_space.h"
#include "posix/capture_context.h"
#include "posix/collector.h"
#include "posix/task_capture.h"
#include "posix/wake_watch.h"
#include "store/changes.h"

namespace perdure::capture {

/// How long the parts of a pause took, in nanoseconds, and what was found.
struct Figures {
  int64_t pause_ns = 0;    ///< from the first thread stopped to the last one running again
  int64_t stop_ns = 0;
  int64_t objects_ns = 0;  ///< reading kernel objects
  int64_t scan_ns = 0;     ///< finding the dirty pages, beside the objects
  int64_t copy_ns = 0;     ///< copying what was not copied yet when the objects were read
  int64_t resume_ns = 0;   ///< letting all threads go again
  uint64_t dirty_pages = 0;
  uint64_t thread_count = 0;
  uint64_t process_count = 0;
};

/// What a captured epoch adds to the store.
struct Checkpoint {
  store::Changes changes;
  Figures figures;
  int64_t pause_end_ns = 0;  ///< CLOCK_MONOTONIC
  std::vector<std::shared_ptr<OutsideFile>> to_sync;  ///< what it says of outside files is true after a crash once these are on disk
  std::shared_ptr<const Audit> audit;  ///< what the group was, when Options::audit asks for it
};

/// Takes checkpoints of one group. Bound to the OS thread that uses it (ptrace).
class Capturer {
 public:
  struct Options {
    uint64_t pid_namespace = 0;            ///< inode number
    uint64_t cgroup_id = 0;                ///< instead of the namespace: the group was attached to
    pid_t init_pid = 0;                    ///< host PID of the group's init, or of the first attached process
    bool kill_with_supervisor = true;
    bool sync_files = true;                ///< have outside files on disk before the epoch that speaks of them
    bool audit = false;                    ///< read everything a second time, to be compared with the store
    std::set<std::string> disabled_kinds;  ///< `--mutate`: kinds whose capture is left out, to prove the tests
    std::array<int, 3> standard_streams{0, 1, 2};  ///< borrowed, for create() alone: what the program got
    int terminal_master = -1;                      ///< borrowed: of the group's terminal; -1 without
    posix::ObjectId first_object = posix::kGroupObject + 1;
  };
  /// `collector`: fresh; it takes 0.2 s to make one, which any thread can do.
  static Result<std::unique_ptr<Capturer>> create(Options options, posix::Collector collector);
  ~Capturer();

  /// Has the first checkpoint hold `changes`, too, before its own: those that make the store empty, where it holds another program.
  void begin_with(store::Changes changes) { pending_ = std::move(changes); }

  /// Takes a checkpoint. Absent when nothing ran since the last one. On error the group runs on, and what was found dirty is part of
  /// the next checkpoint.
  Result<std::optional<Checkpoint>> capture();

  /// A process of a restored group, stopped in one of its threads.
  struct RestoredProcess {
    posix::ObjectId address_space;
    pid_t host_pid;
    TracedThread* thread;
  };
  /// Goes on from the checkpoint that the group is being restored from: of its pages only those are written again that change from here on.
  /// To be called when all memory is as the checkpoint has it, and before anything else is written to it. `elapsed_ns`: how far the group's clocks
  /// have gone on since.
  Result<void> take_over(const store::View& view, const posix::ObjectTree& tree, std::span<const RestoredProcess> processes, int64_t elapsed_ns);
  /// The same of a group that has been running while `fill` filled its memory, and is done: of its pages only those are written again that have changed
  /// since the restore. Lets go of `fill`'s hold on the memory. An error before that leaves all as it was.
  Result<void> take_over_running(const store::View& view, const posix::ObjectTree& tree, memory::LazyFill& fill);
  /// By device and number: the inodes restored so far whose contents are the store's. To be called before take_over(), and when all is restored.
  void note_restored_inodes(std::map<std::pair<uint64_t, uint64_t>, posix::ObjectId> inodes) { restored_inodes_ = std::move(inodes); }

  /// The group is not captured any more: its memory is watched for nobody, and its forks wait for nobody.
  void end_tracking();
  /// Looks which threads there are, without a checkpoint: keeps group_alive() and host_pid_of() true.
  Result<void> look();
  /// Whether nothing ran since the last checkpoint, as far as can be seen now.
  Result<bool> idle();
  /// What tells when idle() ends.
  Result<posix::WakeWatch> watch_wakes() const;
  /// When capture() should be called at the latest, idle or not, for a sleeper whose time is over then; absent without.
  std::optional<int64_t> next_overdue_ns() const { return sleeps_.next_overdue_ns(); }
  /// Whether any process of the group is left (zombies included), as of the last capture().
  bool group_alive() const { return group_alive_; }
  /// Whether the group's init lives and is not on its way out, as of the last capture() or look().
  bool init_alive() const;
  /// PIDs of the group's live processes in the caller's namespace, as of the last capture().
  const std::vector<pid_t>& host_pids() const { return host_pids_; }
  /// The host PID of a process of the group; 0 when there is none.
  pid_t host_pid_of(int pid) const;
  void set_root_pid(int pid) { root_pid_ = pid; }

 private:
  class Context;
  struct Space;
  struct MappedInode;
  struct MemoryInode;
  struct PausedState;
  struct KnownThread {
    const posix::ThreadRecord* read;  ///< in `last_tasks_`, as are
    const posix::CredentialsRecord* credentials;
    posix::BlockedCall call;
    posix::ObjectId descriptor_table;  ///< its own; 0: that of its process
    bool can_be_kept;                  ///< its record depends on nothing else
  };
  using Records = std::map<posix::ObjectId, posix::Object>;

  Capturer(Options options, posix::Collector collector, SeizePatience patience);
  Result<std::vector<posix::ThreadBrief>> present_threads();
  Result<void> find_foreign(const std::vector<posix::ThreadBrief>& threads);
  bool unchanged(const std::vector<posix::ThreadBrief>& threads) const;
  Result<void> read_paused(StoppedGroup& group, PausedState& state, Figures& figures);
  Result<void> prepare_spaces(StoppedGroup& group, PausedState& state);
  Result<void> read_objects(PausedState& state);
  void go_on_from(const store::View& view, const posix::ObjectTree& tree);
  void erase_unmet_spaces(const store::View& view);
  Result<void> take_over_space(const store::View& view, const RestoredProcess& process, uint64_t mm, PausedState& state,
                               const std::vector<memory::PageRun>* unchanged = nullptr);
  void drop_unmet_inodes();
  StoppedGroup::Options stop_options();
  void adopt_forks(const std::vector<posix::ThreadBrief>& threads);
  void adopt_fork(Space& parent, memory::ForkWatch::Watched userfaultfd, const posix::ThreadBrief& thread);
  Result<void> track_newcomers();
  Result<void> track_spaces(StoppedGroup& group, PausedState& state);
  Result<void> begin_tracking(Space& space, TracedThread& thread);
  Result<void> update_mappings(Space& space, PausedState& state);
  void recall_inodes(const Space& space, PausedState& state);
  bool is_known(const MappedInode& inode) const;
  void recall_inode(const MappedInode& inode, PausedState& state);
  Result<void> take_memory_inodes(PausedState& state);
  Result<void> take_memory_inode(MemoryInode& inode, PausedState& state);
  Result<void> take_segments(PausedState& state);
  void forget_memory_inodes(const PausedState& state);
  Result<void> check_recalled_inodes(const PausedState& state);
  Result<void> describe_memory_inode(MemoryInode& inode, const struct stat& status, const std::string& link);
  Result<int64_t> file_system_of(const std::string& path, uint64_t device);
  Result<std::string> find_other_name(const std::string& gone, const struct stat& wanted) const;
  static Result<Fd> open_segment(int id);
  void reserve_pages();
  void begin_reading_pages(PausedState& state);
  Result<void> finish_reading_pages(PausedState& state, Figures& figures);
  Result<void> read_files(PausedState& state);
  Result<void> note_mapped_files(const Space& space, const PausedState& state);
  Result<void> note_outside_file(const posix::FileRecord& file, pid_t host_pid, const PausedState& state);
  Result<void> read_ipc(PausedState& state);
  Result<void> read_closed_message_queues(PausedState& state);
  Result<std::map<uint64_t, std::string>> list_message_queues();
  Result<posix::ObjectId> message_queue_object(uint64_t inode, const std::string& name, const std::string& link, PausedState& state);
  Result<void> capture_file(const posix::FileSource& source, const posix::FileRecord* last, KnownFile& known, Context& context, PausedState& state);
  Result<void> capture_new_file(const posix::FileSource& source, posix::ObjectId id, Context& context, PausedState& state);
  bool keep_file(const posix::FileSource& source, const posix::FileRecord* last, const KnownFile& known, Context& context, PausedState& state);
  KnownFile& known_file(uint64_t file_address);
  bool is_met(uint64_t file_address) const;
  Result<void> capture_table(uint64_t address, Context& context, PausedState& state);
  void keep_inode(posix::ObjectId id, PausedState& state);
  const posix::Inode* outside_inode(posix::ObjectId id, const PausedState& state) const;
  Result<void> capture_in_flight(Context& context, PausedState& state);
  Result<void> capture_out_of_reach(const posix::FileRecord& file, const posix::FileTable& table, Context& context, PausedState& state);
  Result<void> read_file_locks(Context& context, PausedState& state);
  Result<void> read_directory_watches(PausedState& state);
  Result<void> check_watched_files(const PausedState& state) const;
  Result<std::shared_ptr<const Audit>> audit(StoppedGroup& group, PausedState& state);
  void forget_known();
  Result<void> build_records(PausedState& state);
  void bring_inside(posix::Process& process, const std::set<int>& pids) const;
  Result<void> build_tasks(PausedState& state);
  bool keep_thread(posix::ObjectId id, uint64_t task, const KnownThread& now, PausedState& state);
  Result<void> check_terminals(const PausedState& state) const;
  void read_terminal(posix::Group& group, const PausedState& state) const;
  Result<void> take_pages(Space& space, memory::ReadPages pages, PausedState& state);
  void keep_pages(PausedState& state);
  bool may_pin_pages();
  bool is_worth_copying_ahead(Space& space) const;
  void copy_ahead();
  Result<void> take_ahead(Space& space, memory::ReadPages pages);
  void keep_ahead(Space& space, const std::vector<memory::DirtyPages::Run>& since);
  void keep_space_pages(Space& space, const memory::ReadPages& pages);
  Result<void> check_direct_files(const PausedState& state);
  Result<bool> is_all_there(const Space& space, const PausedState& state) const;
  void forget_pages(Space& space, memory::PageRun pages);
  void settle_pages(Space& space, const memory::Presence& presence);
  void diff_records(PausedState& state);
  void remember(PausedState& state);
  Result<std::optional<Checkpoint>> attempt();
  Result<void> read_stopped(StoppedGroup& group, PausedState& state, Checkpoint& checkpoint);
  Result<posix::TaskTable> group_tasks();
  Result<void> read_directories(PausedState& state);
  Result<posix::FileSystemContext> directories_of(const posix::FileSystemContextRecord& source, pid_t host_pid);
  Result<posix::ObjectId> executable_of(const posix::AddressSpaceRecord& source, pid_t host_pid, PausedState& state);
  Result<posix::BlockedCall> blocked_call(const posix::ThreadRecord& thread, int64_t now_ns);
  Result<void> read_calls(PausedState& state);
  Result<std::optional<posix::BlockedCall>> continued_call(const posix::TaskTable& tasks, const posix::ThreadRecord& thread, int64_t now_ns);
  Result<int64_t> socket_remaining_ns(const posix::ThreadRecord& thread, int64_t now_ns, bool in_continuation);
  posix::BlockedCall call_to_be_made(const posix::ThreadRecord& thread, int64_t now_ns);
  struct Progress {
    uint64_t done = 0;         ///< bytes, or messages
    uint64_t ahead_bytes = 0;  ///< see thread.proto
  };
  Result<Progress> progress_of(const posix::ThreadRecord& thread);
  Result<std::optional<uint64_t>> messages_done(const posix::ThreadRecord& thread, std::span<const std::vector<posix::UserBuffer>> messages);
  void impose_deadlines(const posix::ObjectTree& tree, const std::vector<posix::ThreadBrief>& threads, int64_t elapsed_ns);
  void choose_restless(int attempt);
  bool is_restless(const posix::ThreadBrief& sleeper) const;
  void expect_to_wake(std::span<const uint64_t> tasks);
  /// The object of an inode, found by a link of /proc. `written`: the group can write to it by this way.
  Result<posix::ObjectId> inode_at(const std::string& link, uint64_t inode_address, uint64_t inode_number, bool written,
                                   PausedState& state);
  Result<void> refuse_what_cannot_be_saved(const posix::TaskTable& tasks);

  Options options_;
  posix::Collector collector_;
  uint64_t vdso_syscall_offset_ = 0;
  uint64_t vdso_hash_ = 0;
  std::optional<MountWatch> mounts_;  ///< absent where the group was attached to
  ClockOffsets own_clock_offsets_;  ///< the supervisor's: what it reads has them, the kernel's own times have not
  int64_t monotonic_offset_ns_ = 0;
  int64_t boottime_offset_ns_ = 0;
  std::array<uint64_t, 3> standard_streams_{};  ///< addresses of their open file descriptions
  uint32_t terminal_device_ = 0;                ///< of the group's terminal, in the kernel's coding; 0 without
  Identities identities_;
  std::unique_ptr<memory::ForkWatch> fork_watch_;
  std::unique_ptr<memory::PageReader> page_reader_;
  uint64_t last_reading_ = 0;  ///< pages that the last attempt copied, but for those of new spaces
  bool has_direct_files_ = false;  ///< some file was opened with O_DIRECT
  bool was_disturbed_ = false;  ///< the last pages that were read may be of any moment until their attempt came to nothing
  bool cannot_be_read_ = false;  ///< the last attempt did not come to its end
  std::vector<memory::ForkWatch::Fork> forks_;         ///< whose children were not met yet
  std::map<uint64_t, std::unique_ptr<Space>> spaces_;  ///< by mm address
  std::map<posix::ObjectId, std::unique_ptr<MemoryInode>> memory_inodes_;
  struct Segment {
    int id;
    shmid_ds status;
  };
  std::map<posix::ObjectId, Segment> segments_;  ///< System V shared memory
  std::map<std::pair<uint64_t, uint64_t>, posix::ObjectId> restored_inodes_;         ///< until the first checkpoint: see take_over()
  std::map<posix::ObjectId, memory::InodePages::Hashes> restored_contents_;  ///< of inodes that were not met since
  std::map<posix::ObjectId, memory::PageSet> written_;  ///< pages of memory inodes written through mappings, not taken yet
  bool mappings_changed_ = true;  ///< somebody may have written to them through a mapping that is gone again
  std::map<uint64_t, int64_t> file_systems_;     ///< magic number by device
  struct LastRecord {
    std::string bytes;  ///< serialized
    bool met = false;   ///< in this epoch
  };
  std::unordered_map<posix::ObjectId, LastRecord> last_records_;
  store::Changes pending_;
  OutsideFiles outside_files_;
  std::vector<posix::ThreadBrief> present_;       ///< as of the begin of the last capture()
  std::vector<posix::ThreadBrief> last_threads_;  ///< as of the last checkpoint
  std::set<uint64_t> overdue_;   ///< sleepers whose sockets' time is over, by task address
  std::set<uint64_t> restless_;  ///< sleepers to be stopped in this attempt, likewise
  bool crowd_is_restless_ = false;  ///< all are but those of settled_
  bool transfers_are_restless_ = false;  ///< likewise those in the midst of a transfer
  using Sleep = std::tuple<uint64_t, uint64_t, uint64_t>;  ///< the task's address, and how often it was switched away from
  std::set<Sleep> settled_;  ///< how the last checkpoint saw each thread
  std::map<uint64_t, int> restlessness_;  ///< by task address: how much those that woke during captures are expected to do so again
  SeizePatience patience_;
  std::vector<TracedThread> exited_;  ///< held by ptrace until the rest of their processes is gone
  std::set<uint64_t> known_;    ///< processes (signal_struct addresses) that were told apart
  std::set<uint64_t> foreign_;  ///< those of them that a `perdure exec` brought in
  Sleeps sleeps_;
  std::map<posix::ObjectId, posix::Object> inodes_;  ///< those met in the last epoch
  std::set<posix::ObjectId> inodes_looked_at_;       ///< those of them that may differ from last_records_
  posix::TaskTable last_tasks_;  ///< as of the last checkpoint
  std::unordered_map<uint64_t, KnownThread> known_threads_;  ///< by task address, likewise
  std::unordered_map<uint64_t, KnownFile> known_files_;    ///< by file address
  std::unordered_map<uint64_t, KnownTable> known_tables_;  ///< by files_struct address
  uint64_t attempts_ = 0;  ///< readings of the whole group, those of audits among them
  uint64_t attempt_ = 0;   ///< the number of the present one; no other has it, whatever comes of it
  struct KnownPath {
    uint64_t inode = 0;
    uint64_t signature = 0;
    uint32_t link_count = 0;
    std::string path;
    bool inode_known = false;  ///< its inode's record of the last epoch is still right
  };
  struct KnownDirectories {
    std::array<uint64_t, 6> place{};  ///< dentries, mounts and signatures; zeros: not known
    posix::FileSystemContext context;
  };
  std::map<uint64_t, KnownDirectories> known_directories_;         ///< by fs_struct address
  std::map<uint64_t, std::array<uint64_t, 3>> known_executables_;  ///< by mm address: inode, its number, signature
  posix::SocketOptionCache socket_options_;
  KnownPath& known_path(const posix::FileRecord& file);
  std::unordered_map<uint64_t, KnownPath> paths_;  ///< by file address
  using WatchedFiles = std::map<std::pair<uint64_t, uint64_t>, std::string>;  ///< by mark's address and inode number: paths
  WatchedFiles watched_files_;
  std::map<std::pair<uint32_t, std::string>, std::string> watched_paths_;  ///< by device and path within the file system
  Fd message_queues_;  ///< the directory of the group's POSIX message queues
  struct ClosedMessageQueue {
    Fd file;
    uint64_t inode = 0;  ///< address
  };
  std::map<uint64_t, ClosedMessageQueue> closed_message_queues_;  ///< by inode number
  bool group_alive_ = true;
  int root_pid_ = 0;
  std::vector<pid_t> host_pids_;
};

}  // namespace perdure::capture
