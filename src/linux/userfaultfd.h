// Asynchronous write protection by userfaultfd (userfaultfd(2), Documentation/admin-guide/mm/userfaultfd.rst).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/fd.h"
#include "base/result.h"

namespace perdure {

/// Negotiates WP_ASYNC (first writes are resolved in the kernel, and only noted) and EVENT_FORK (a forked child arrives
/// registered) on a fresh userfaultfd of any process.
Result<void> enable_write_tracking(int userfaultfd);

/// Registers [start, end) of the descriptor's address space for write tracking. Idempotent. Returns false where the kernel cannot
/// track the mapping (vdso, vvar, a shared mapping that can never become writable).
Result<bool> register_write_tracking(int userfaultfd, uint64_t start, uint64_t end);

/// Has every page that is there in [start, end), which must be registered, count as written.
Result<void> count_as_written(int userfaultfd, uint64_t start, uint64_t end);

/// Has put_page_contents() work in an address space, given a fresh userfaultfd of it; nothing else is changed for it.
Result<void> enable_filling(int userfaultfd);

/// Has it work while the process runs, too, whose writes are noted as by enable_write_tracking(), and which waits for whoever reads what it does to
/// its mappings (forks, moves, gives back).
Result<void> enable_lazy_filling(int userfaultfd);

/// Registers [start, end) of the descriptor's address space, private anonymous memory, for put_page_contents(): whoever touches what is not there
/// waits until it is.
Result<void> register_missing(int userfaultfd, uint64_t start, uint64_t end);
/// The same, and for write tracking.
Result<void> register_lazy(int userfaultfd, uint64_t start, uint64_t end);

/// Fills pages that are not there yet, in one step each. Returns how many bytes were filled before a page that is there already, or all.
Result<uint64_t> put_page_contents(int userfaultfd, uint64_t address, std::span<const std::byte> contents);

/// Has the pages that are there in [start, end), which must be registered, count as not written.
Result<void> count_as_unwritten(int userfaultfd, uint64_t start, uint64_t end);

/// Takes one pending fork event: the child's userfaultfd, or an empty Fd when there is none.
Result<Fd> read_fork_event(int userfaultfd);

}  // namespace perdure
