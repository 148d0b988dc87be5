// What the collector says of threads and processes, against /proc and ptrace.
#include <gtest/gtest.h>
#include <immintrin.h>
#include <linux/elf.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/user.h>

#include <cstring>
#include <fstream>
#include <set>
#include <sstream>

#include "posix/extended_state.h"
#include "posix_child.h"

namespace perdure::posix {
namespace {

void* sleep_forever(void*) {
  for (;;) ::pause();
}

void start_threads(int count) {
  for (int i = 0; i < count; ++i) {
    pthread_t thread;
    pthread_create(&thread, nullptr, sleep_forever, nullptr);
  }
}

std::string status_field(const Child& child, const std::string& name) {
  std::ifstream status(child.proc("status"));
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(name + ":")) return line.substr(line.find('\t') + 1);
  return "";
}

TEST(CollectorTasks, FindsEveryThreadOfTheNamespace) {
  Child child([](auto ready) {
    start_threads(3);
    if (::fork() == 0) for (;;) ::pause();
    ready();
  });
  Collector collector = collector_of(child);
  auto threads = collector.tasks_brief();
  ASSERT_TRUE(threads) << threads.error().message();
  ASSERT_EQ(threads->size(), 5u);
  std::set<uint32_t> tids, tgids;
  for (const ThreadBrief& thread : *threads) {
    tids.insert(thread.tid);
    tgids.insert(thread.tgid);
    EXPECT_EQ(thread.exit_state, 0u);
    EXPECT_NE(thread.mm, 0u);
    EXPECT_NE(thread.start_boottime_ns, 0u);
  }
  EXPECT_EQ(tids, (std::set<uint32_t>{1, 2, 3, 4, 5}));
  EXPECT_EQ(tgids, (std::set<uint32_t>{1, 5}));
  EXPECT_EQ(threads->front().host_tid, static_cast<uint32_t>(child.pid()));
}

TEST(CollectorTasks, SeesASleeperWake) {
  Child child([](auto ready) {
    ready();
    for (;;) ::pause();
  });
  ::usleep(20000);
  Collector collector = collector_of(child);
  const ThreadBrief before = collector.tasks_brief()->front();
  EXPECT_EQ(before.state, 1u);
  EXPECT_EQ(before.on_cpu, 0u);
  EXPECT_EQ(before.orig_ax, static_cast<uint64_t>(SYS_pause));
  const ThreadBrief same = collector.tasks_brief()->front();
  EXPECT_EQ(same.nvcsw, before.nvcsw);
  EXPECT_EQ(same.mm_lock_seq, before.mm_lock_seq);
  ::kill(child.pid(), SIGSTOP);
  ::kill(child.pid(), SIGCONT);
  ::usleep(20000);
  const ThreadBrief after = collector.tasks_brief()->front();
  EXPECT_NE(after.nvcsw, before.nvcsw);
  EXPECT_GT(after.sum_exec_runtime_ns, before.sum_exec_runtime_ns);
}

TEST(CollectorTasks, AnUnknownNamespaceIsAnError) {
  auto collector = Collector::create();
  ASSERT_TRUE(collector) << collector.error().message();
  EXPECT_FALSE(collector->select_pid_namespace(12345));
}

TEST(CollectorTasks, RegistersAndExtendedStateEqualPtraces) {
  Child child([](auto ready) {
    ready();
    ::usleep(20000);
#ifdef __AVX__
    const bool avx = true;
#else
    const bool avx = __builtin_cpu_supports("avx") != 0;
#endif
    static uint8_t pattern[64];
    for (size_t i = 0; i < sizeof(pattern); ++i) pattern[i] = static_cast<uint8_t>(i + 1);
    const uint32_t mxcsr = 0x3f80;
    asm volatile("ldmxcsr %0; fldpi; fld1" ::"m"(mxcsr));
    if (avx) asm volatile("vmovups %0, %%ymm3; vmovups %0, %%ymm15" ::"m"(pattern));
    if (__builtin_cpu_supports("avx512f")) asm volatile("vmovups %0, %%zmm7; vmovups %0, %%zmm29; kmovw %1, %%k3" ::"m"(pattern), "r"(0x5a5a));
    for (;;) asm volatile("syscall" ::"a"(SYS_pause) : "rcx", "r11", "memory");
  });
  ::usleep(60000);
  Collector collector = collector_of(child);
  auto table = collector.tasks();
  ASSERT_TRUE(table) << table.error().message();
  const ThreadRecord& thread = *table->threads.front();

  ASSERT_EQ(::ptrace(PTRACE_SEIZE, child.pid(), 0, 0), 0);
  ASSERT_EQ(::ptrace(PTRACE_INTERRUPT, child.pid(), 0, 0), 0);
  ASSERT_EQ(::waitpid(child.pid(), nullptr, __WALL), child.pid());
  user_regs_struct registers{};
  iovec vector{&registers, sizeof(registers)};
  ASSERT_EQ(::ptrace(PTRACE_GETREGSET, child.pid(), NT_PRSTATUS, &vector), 0);
  EXPECT_EQ(thread.registers.ip, registers.rip);
  EXPECT_EQ(thread.registers.sp, registers.rsp);
  EXPECT_EQ(thread.registers.bx, registers.rbx);
  EXPECT_EQ(thread.registers.r15, registers.r15);
  EXPECT_EQ(thread.registers.orig_ax, registers.orig_rax);
  EXPECT_EQ(thread.registers.flags, registers.eflags);
  EXPECT_EQ(thread.registers.cs, registers.cs);
  EXPECT_EQ(thread.registers.ss, registers.ss);
  EXPECT_EQ(thread.fs_base, registers.fs_base);
  EXPECT_EQ(thread.gs_base, registers.gs_base);

  std::vector<std::byte> traced(16384);
  vector = {traced.data(), traced.size()};
  ASSERT_EQ(::ptrace(PTRACE_GETREGSET, child.pid(), NT_X86_XSTATE, &vector), 0);
  traced.resize(vector.iov_len);
  auto standard = standard_extended_state(extended_state(thread), thread.extended_user_features, thread.pkru);
  ASSERT_TRUE(standard) << standard.error().message();
  ASSERT_EQ(standard->size(), traced.size());
  // Bit 9 of the header (PKRU) is set by us always, by the kernel only where its own copy says so.
  (*standard)[513] &= ~std::byte{2};
  traced[513] &= ~std::byte{2};
  for (size_t at = 0; at < traced.size(); ++at) ASSERT_EQ((*standard)[at], traced[at]) << "at byte " << at;
  EXPECT_EQ(::ptrace(PTRACE_DETACH, child.pid(), 0, 0), 0);
}

TEST(CollectorTasks, AttributesEqualWhatTheTaskSet) {
  static uint8_t alternate_stack[65536];
  Child child([](auto ready) {
    ::prctl(PR_SET_NAME, "collected");
    ::prctl(PR_SET_PDEATHSIG, SIGUSR2);
    ::prctl(PR_SET_TIMERSLACK, 12345);
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    stack_t stack{.ss_sp = alternate_stack, .ss_flags = 0, .ss_size = sizeof(alternate_stack)};
    ::sigaltstack(&stack, nullptr);
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigaddset(&blocked, SIGRTMIN + 3);
    ::sigprocmask(SIG_BLOCK, &blocked, nullptr);
    struct sigaction action {};
    action.sa_handler = [](int) {};
    action.sa_flags = SA_RESTART;
    ::sigaction(SIGHUP, &action, nullptr);
    sigval value{.sival_int = 77};
    ::sigqueue(::getpid(), SIGRTMIN + 3, value);
    ::syscall(SYS_tgkill, ::getpid(), ::gettid(), SIGUSR1);
    itimerval timer{{3, 0}, {100, 0}};
    ::setitimer(ITIMER_REAL, &timer, nullptr);
    ::umask(0123);
    rlimit limit{100, 200};
    ::setrlimit(RLIMIT_CORE, &limit);
    ::setpriority(PRIO_PROCESS, 0, 5);
    ::syscall(SYS_set_robust_list, alternate_stack, 24);
    ::prctl(PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0);
    ready();
  });
  ::usleep(20000);
  Collector collector = collector_of(child);
  auto table = collector.tasks();
  ASSERT_TRUE(table) << table.error().message();
  const ThreadRecord& thread = *table->threads.front();
  EXPECT_STREQ(thread.comm, "collected");
  EXPECT_EQ(thread.pdeath_signal, static_cast<uint32_t>(SIGUSR2));
  EXPECT_EQ(thread.timer_slack_ns, 12345u);
  EXPECT_EQ(thread.atomic_flags & 1, 1u);
  EXPECT_EQ(thread.alternate_stack, reinterpret_cast<uint64_t>(alternate_stack));
  EXPECT_EQ(thread.alternate_stack_size, sizeof(alternate_stack));
  EXPECT_EQ(thread.blocked, 1ull << (SIGUSR1 - 1) | 1ull << (SIGRTMIN + 2));
  EXPECT_EQ(thread.static_priority, 125u);
  EXPECT_EQ(thread.robust_list, reinterpret_cast<uint64_t>(alternate_stack));
  EXPECT_EQ(thread.rseq_signature, 0x53053053u);
  EXPECT_EQ(thread.time_stamp_denied, 1u);
  EXPECT_EQ(thread.cpuid_denied, 0u);

  const ProcessRecord* process = table->processes.find(thread.brief.signal);
  ASSERT_NE(process, nullptr);
  EXPECT_EQ(process->tgid, 1u);
  EXPECT_EQ(process->parent_tgid, 0u);
  EXPECT_EQ(process->parent_host_tgid, static_cast<uint32_t>(::getpid()));
  EXPECT_EQ(process->session, 0u);
  EXPECT_EQ(process->session_host, static_cast<uint32_t>(::getsid(0)));
  EXPECT_EQ(process->is_child_subreaper, 1u);
  EXPECT_EQ(process->resource_limits[RLIMIT_CORE][0], 100u);
  EXPECT_EQ(process->resource_limits[RLIMIT_CORE][1], 200u);
  EXPECT_EQ(process->real_timer.active, 1u);
  EXPECT_GT(process->real_timer.remaining_ns, 95'000'000'000);
  EXPECT_LE(process->real_timer.remaining_ns, 100'000'000'000);
  EXPECT_EQ(process->real_timer.interval_ns, 3'000'000'000u);

  ASSERT_EQ(table->pending_signals.size(), 2u);
  for (const PendingSignalRecord* pending : table->pending_signals) {
    siginfo_t info{};
    std::memcpy(&info, pending->info, sizeof(pending->info));
    if (pending->owner == thread.brief.task) {
      EXPECT_EQ(info.si_signo, SIGUSR1);
    } else {
      EXPECT_EQ(pending->owner, process->signal);
      EXPECT_EQ(info.si_signo, SIGRTMIN + 3);
      EXPECT_EQ(info.si_value.sival_int, 77);
    }
  }

  const SignalHandlersRecord* handlers = table->signal_handlers.find(thread.brief.sighand);
  ASSERT_NE(handlers, nullptr);
  EXPECT_GT(handlers->actions[SIGHUP - 1].handler, 1u);
  EXPECT_EQ(handlers->actions[SIGHUP - 1].flags & SA_RESTART, static_cast<uint64_t>(SA_RESTART));
  EXPECT_EQ(table->file_system_contexts.find(thread.brief.fs)->umask, 0123u);
}

TEST(ThreadFlags, OneThatFollowsIsToldFromThoseThatComeAndGo) {
  constexpr uint64_t kFollows = 1 << 5, kAlwaysSet = 1 << 2;
  uint64_t reads = 0;
  const auto flags = find_thread_flags([&]() -> Result<uint64_t> {
    int mode = 0;
    ::prctl(PR_GET_TSC, &mode, 0, 0, 0);
    const uint64_t coming_and_going = ++reads % 2 == 0 && reads < 20 ? 1 << 9 : 0;
    return kAlwaysSet | coming_and_going | (mode == PR_TSC_SIGSEGV ? kFollows : 0);
  });
  // This machine can deny CPUID or not: of that nothing is told here.
  if (!flags) {
    EXPECT_NE(flags.error().message().find("CPUID"), std::string::npos) << flags.error().message();
    return;
  }
  EXPECT_EQ(flags->time_stamp_denied, kFollows);
  EXPECT_EQ(flags->cpuid_denied, 0u);
}

TEST(ThreadFlags, NoneThatFollowsIsAnError) {
  EXPECT_FALSE(find_thread_flags([]() -> Result<uint64_t> { return 0; }));
}

TEST(CollectorTasks, CredentialsAndNamespacesEqualProc) {
  Child child([](auto ready) {
    const gid_t groups[] = {5, 77, 1234};
    if (::syscall(SYS_setgroups, 3, groups) != 0 || ::syscall(SYS_setresgid, 10, 11, 12) != 0 || ::syscall(SYS_setresuid, 20, 21, 22) != 0)
      ::_exit(1);
    ready();
  });
  Collector collector = collector_of(child);
  auto table = collector.tasks();
  ASSERT_TRUE(table);
  const ThreadRecord& thread = *table->threads.front();
  const CredentialsRecord* credentials = table->credentials.find(thread.brief.credentials);
  ASSERT_NE(credentials, nullptr);
  std::ostringstream uids, gids;
  uids << credentials->uid << '\t' << credentials->euid << '\t' << credentials->suid << '\t' << credentials->fsuid;
  gids << credentials->gid << '\t' << credentials->egid << '\t' << credentials->sgid << '\t' << credentials->fsgid;
  EXPECT_EQ(uids.str(), status_field(child, "Uid"));
  EXPECT_EQ(gids.str(), status_field(child, "Gid"));
  const auto groups = supplementary_groups(*credentials);
  EXPECT_EQ(std::vector<uint32_t>(groups.begin(), groups.end()), (std::vector<uint32_t>{5, 77, 1234}));
  EXPECT_EQ(credentials->bounding, std::stoull(status_field(child, "CapBnd"), nullptr, 16));
  EXPECT_EQ(credentials->permitted, std::stoull(status_field(child, "CapPrm"), nullptr, 16));

  const NamespacesRecord* namespaces = table->namespaces.find(thread.brief.nsproxy);
  ASSERT_NE(namespaces, nullptr);
  struct stat status {};
  ::stat(child.proc("ns/mnt").c_str(), &status);
  EXPECT_EQ(namespaces->mount, status.st_ino);
  ::stat(child.proc("ns/net").c_str(), &status);
  EXPECT_EQ(namespaces->network, status.st_ino);
  ::stat(child.proc("ns/ipc").c_str(), &status);
  EXPECT_EQ(namespaces->ipc, status.st_ino);
  EXPECT_EQ(namespaces->pid_for_children, child.namespace_inode());
}

TEST(CollectorTasks, AddressSpaceEqualsProc) {
  Child child([](auto ready) { ready(); });
  Collector collector = collector_of(child);
  auto table = collector.tasks();
  ASSERT_TRUE(table);
  const AddressSpaceRecord* space = table->address_spaces.find(table->threads.front()->brief.mm);
  ASSERT_NE(space, nullptr);
  std::ifstream stat_file(child.proc("stat"));
  std::string line;
  std::getline(stat_file, line);
  std::istringstream fields(line.substr(line.rfind(')') + 2));
  std::vector<std::string> values{"", "", ""};  // field numbers as in proc(5)
  for (std::string value; fields >> value;) values.push_back(value);
  EXPECT_EQ(space->start_code, std::stoull(values[26]));
  EXPECT_EQ(space->start_stack, std::stoull(values[28]));
  EXPECT_EQ(space->start_brk, std::stoull(values[47]));
  EXPECT_EQ(space->arg_start, std::stoull(values[48]));
  EXPECT_EQ(space->env_end, std::stoull(values[51]));
  EXPECT_EQ(space->total_pages * 4, std::stoull(status_field(child, "VmSize")));
  EXPECT_EQ(space->flags & 3, 1u);
  EXPECT_NE(space->vdso, 0u);
  std::ifstream auxiliary(child.proc("auxv"), std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(auxiliary)), {});
  EXPECT_EQ(std::memcmp(bytes.data(), space->auxiliary_vector, bytes.size()), 0);
  struct stat executable {};
  ::stat(child.proc("exe").c_str(), &executable);
  EXPECT_EQ(space->executable_inode, executable.st_ino);
}

TEST(CollectorTasks, ManyThreadsTakeSeveralPasses) {
  constexpr int kThreads = 1500;
  Child child([](auto ready) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 65536);
    for (int i = 0; i < kThreads; ++i) {
      pthread_t thread;
      if (pthread_create(&thread, &attributes, sleep_forever, nullptr) != 0) ::_exit(1);
    }
    ready();
  });
  Collector collector = collector_of(child);
  auto table = collector.tasks();
  ASSERT_TRUE(table) << table.error().message();
  ASSERT_EQ(table->threads.size(), kThreads + 1u);
  for (size_t i = 1; i < table->threads.size(); ++i) ASSERT_LT(table->threads[i - 1]->brief.tid, table->threads[i]->brief.tid);
  EXPECT_EQ(table->processes.size(), 1u);
  EXPECT_EQ(table->address_spaces.size(), 1u);
}

TEST(CollectorTasks, AZombieAndAGoneLeaderAreSeen) {
  Child child([](auto ready) {
    if (::fork() == 0) ::_exit(7);
    if (::fork() == 0) {
      start_threads(1);
      ::usleep(1000);
      ::syscall(SYS_exit, 0);
    }
    ::usleep(50000);
    ready();
  });
  Collector collector = collector_of(child);
  auto threads = collector.tasks_brief();
  ASSERT_TRUE(threads);
  ASSERT_EQ(threads->size(), 4u);
  EXPECT_EQ((*threads)[1].exit_state, 0x20u);
  EXPECT_EQ((*threads)[1].exit_code, 7u << 8);
  EXPECT_EQ((*threads)[1].mm, 0u);
  EXPECT_EQ((*threads)[2].exit_state, 0x20u);
  EXPECT_EQ((*threads)[3].exit_state, 0u);
  EXPECT_EQ((*threads)[3].tgid, (*threads)[2].tid);
}

TEST(CollectorTasks, ManyPendingSignals) {
  constexpr int kSignals = 2000;
  Child child([](auto ready) {
    sigset_t blocked;
    sigfillset(&blocked);
    ::sigprocmask(SIG_BLOCK, &blocked, nullptr);
    for (int i = 0; i < kSignals; ++i)
      if (::sigqueue(::getpid(), SIGRTMIN + i % 5, sigval{.sival_int = i}) != 0) ::_exit(1);
    ready();
  });
  Collector collector = collector_of(child);
  auto table = collector.tasks();
  ASSERT_TRUE(table) << table.error().message();
  auto pending = table->pending_signals.of(table->threads.front()->brief.signal);
  ASSERT_EQ(pending.size(), static_cast<size_t>(kSignals));
  for (int i = 0; i < kSignals; ++i) {
    siginfo_t info{};
    std::memcpy(&info, pending[static_cast<size_t>(i)]->info, sizeof(pending[0]->info));
    ASSERT_EQ(info.si_value.sival_int, i);
  }
}

/// Where cgroup v2 is mounted; empty when it is not.
std::string cgroup2_mount() {
  std::ifstream mounts("/proc/self/mounts");
  for (std::string device, point, type, rest; mounts >> device >> point >> type && std::getline(mounts, rest);)
    if (type == "cgroup2") return point;
  return "";
}

TEST(CollectorTasks, OfACgroup) {
  const std::string root = cgroup2_mount();
  if (root.empty()) GTEST_SKIP() << "no cgroup v2 here";
  const std::string group = root + "/perdure-test-" + std::to_string(::getpid()), below = group + "/below";
  ASSERT_EQ(::mkdir(group.c_str(), 0700), 0);
  ASSERT_EQ(::mkdir(below.c_str(), 0700), 0);
  {
    Child outside([](auto ready) { ready(); });
    Child inside([](auto ready) {
      start_threads(1);
      ready();
    });
    Child nested([](auto ready) { ready(); });
    std::ofstream(group + "/cgroup.procs") << inside.pid() << std::endl;
    std::ofstream(below + "/cgroup.procs") << nested.pid() << std::endl;
    auto collector = Collector::create();
    ASSERT_TRUE(collector);
    struct stat status {};
    ::stat(group.c_str(), &status);
    auto selected = collector->select_cgroup(status.st_ino);
    EXPECT_TRUE(selected) << selected.error().message();
    auto threads = collector->tasks_brief();
    ASSERT_TRUE(threads);
    std::multiset<uint32_t> processes;
    for (const ThreadBrief& thread : *threads) {
      processes.insert(thread.host_tgid);
      EXPECT_EQ(thread.tgid, 1u);
    }
    const auto inside_pid = static_cast<uint32_t>(inside.pid()), nested_pid = static_cast<uint32_t>(nested.pid());
    EXPECT_EQ(processes, (std::multiset<uint32_t>{inside_pid, inside_pid, nested_pid}));
    auto table = collector->tasks();
    ASSERT_TRUE(table);
    EXPECT_EQ(table->processes.size(), 2u);
    EXPECT_FALSE(collector->select_cgroup(1ull << 60));
  }
  EXPECT_EQ(::rmdir(below.c_str()), 0);
  EXPECT_EQ(::rmdir(group.c_str()), 0);
}

}  // namespace
}  // namespace perdure::posix
