// Where the kernel sees the contents of a page. Kernel side only.
#pragma once

#include "posix/kernel.bpf.h"
#include "posix/record.bpf.h"
#include "posix/transfer.bpf.h"

/// Where the kernel sees the contents of a page, given its struct page; the request says where these lie.
static __always_inline uint64_t contents_of_page(struct CollectRequest *request, uint64_t page) {
  return request->page_contents + (page - request->page_structures) / bpf_core_type_size(struct page) * 4096;
}
