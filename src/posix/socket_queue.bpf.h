// What waits in the receive queue of a UNIX or UDP socket: messages with their boundaries, senders and descriptors, and connections to be
// accepted.
#pragma once

#include "posix/record.bpf.h"

#ifdef __cplusplus
namespace perdure::posix {
#endif

enum SocketQueueLimits { kMessageBytesLimit = 1 << 20 };

/// One buffer of the queue. The tail is its data: of a stream, the first `consumed` bytes have been read already.
struct SocketMessageRecord {
  struct RecordHeader header;
  uint64_t sock;
  uint64_t buffer;                    ///< identity
  uint64_t connection;                ///< in a listener's queue: the sock that accept() will give
  uint64_t files;                     ///< identity of the list of descriptors sent along, 0 without
  uint64_t sender;                    ///< sock, 0 when gone
  uint32_t length, consumed;
  uint32_t sender_pid, sender_host_pid, sender_uid, sender_gid;  ///< SCM_CREDENTIALS; pid 0 and uid -1 when none were kept
  uint32_t file_count;                ///< descriptors sent along: FileRecords with this buffer as `message`
  uint32_t is_urgent;                 ///< out-of-band byte
  uint32_t sender_name_length;        ///< 0 unnamed
  uint8_t sender_name[116];           ///< sockaddr_un, sockaddr_in or sockaddr_in6 as in the datagram itself
  uint8_t receiver_name[32];          ///< of a datagram: to which of our addresses it was sent; as sender_name
};

/// Where a file lies that was sent along with a message. The tail is a path of it within its file system, from its own name up to the root's, each
/// with a terminating zero.
struct FilePathRecord {
  struct RecordHeader header;
  uint64_t file;
  uint64_t path_bytes;
};

#ifdef __cplusplus
}  // namespace perdure::posix
#endif

#ifdef __bpf__
#include "posix/descriptor_table.bpf.h"
#include "posix/transfer.bpf.h"

enum { kFragmentLimit = 64, kInFlightLimit = 253, kListening = 10, kFragmentBytes = 16 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct skb_shared_info {
  unsigned char nr_frags;
  struct sk_buff *frag_list;
};
/// The fragments' own structure has had several names, but always this form: page, length, offset.
struct skb_shared_info___fragments {
  struct skb_frag {
    unsigned int len;
  } frags[1];
};
struct skb_shared_info___vectors {
  struct bio_vec {
    unsigned int bv_len;
  } frags[1];
};
struct scm_fp_list {
  short count;
  struct file *fp[1];
};
#pragma clang attribute pop

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct sk_buff___headers {
  uint16_t protocol, transport_header, network_header;
};
#pragma clang attribute pop

static __always_inline uint64_t fragments_of(uint64_t shared) {
  struct skb_shared_info___fragments *newer = (void *)0;
  if (bpf_core_field_exists(newer->frags)) return shared + FIELD_OFFSET(skb_shared_info___fragments, frags);
  return shared + FIELD_OFFSET(skb_shared_info___vectors, frags);
}

/// Copies a buffer's data to `to`, which has room for twice kMessageBytesLimit; returns its size, or more than the limit when it cannot.
static __noinline uint64_t copy_message(struct Pass *pass, uint64_t address, uint8_t *to) {
  struct sk_buff *buffer = KERNEL(sk_buff, address);
  uint64_t filled = at_most(buffer->len - buffer->data_len, kMessageBytesLimit);
  if (bpf_probe_read_kernel(to, filled, buffer->data)) return kMessageBytesLimit + 1;
  uint64_t shared = ADDRESS(buffer, head) + buffer->end, fragment = fragments_of(shared);
  uint32_t left = KERNEL(skb_shared_info, shared)->nr_frags;
  REPEAT(kFragmentLimit) {
    if (!left) break;
    left--;
    uint64_t extent = word_at(fragment + 8), size = at_most((uint32_t)extent, kMessageBytesLimit);
    uint64_t from = contents_of_page(pass->request, word_at(fragment)) + (extent >> 32);
    filled = at_most(filled, kMessageBytesLimit);
    if (bpf_probe_read_kernel(to + filled, size, (void *)from)) return kMessageBytesLimit + 1;
    filled += size;
    fragment += kFragmentBytes;
  }
  return filled == buffer->len ? filled : kMessageBytesLimit + 1;
}

static __always_inline void fill_sender(uint64_t sender, struct SocketMessageRecord *record) {
  record->sender = sender;
  record->sender_name_length = 0;
  uint64_t name = sender ? word_at(sender + FIELD_OFFSET(unix_sock, addr)) : 0;
  if (!name) return;
  record->sender_name_length = KERNEL(unix_address, name)->len;
  uint64_t size = at_most(record->sender_name_length, sizeof(record->sender_name));
  bpf_probe_read_kernel(record->sender_name, size, (void *)(name + FIELD_OFFSET(unix_address, name)));
}

static __noinline int put_file_path(struct Pass *pass, uint64_t file) {
  struct FilePathRecord *record = begin_record(pass, sizeof(*record), 2 * kPathBytesLimit);
  if (!record) return 0;
  record->file = file;
  uint64_t size = at_most(copy_names(pass, ADDRESS(KERNEL(file, file), f_path.dentry), (uint8_t *)(record + 1)), kPathBytesLimit);
  record->path_bytes = size;
  finish_record(pass, &record->header, kFilePathRecord, sizeof(*record) + size);
  return 1;
}

/// The files sent along with the message at request->address, from the request->next'th on.
static __always_inline void put_in_flight(struct Pass *pass) {
  struct CollectRequest *request = pass->request;
  uint64_t list = word_at(request->address + FIELD_OFFSET(sk_buff, cb) + FIELD_OFFSET(unix_skb_parms, fp));
  uint32_t count = list ? KERNEL(scm_fp_list, list)->count : 0, level = group_level_of_caller(request);
  uint64_t slots = list + FIELD_OFFSET(scm_fp_list, fp);
  REPEAT(kInFlightLimit) {
    uint64_t index = request->next;
    if (index >= count) break;
    uint64_t file = word_at(slots + index * 8), start = request->used;
    if (!put_file(pass, file, 0xffffffff - index, request->address, level)) break;
    if (!put_file_path(pass, file)) {
      request->used = start;
      break;
    }
    request->next = index + 1;
  }
}

static __always_inline void fill_message(uint64_t address, uint64_t sock, struct SocketMessageRecord *record, uint32_t level) {
  struct unix_skb_parms *control = KERNEL(unix_skb_parms, address + FIELD_OFFSET(sk_buff, cb));
  uint64_t other = word_at(address + FIELD_OFFSET(sk_buff, sk));
  bool listening = KERNEL(sock, sock)->__sk_common.skc_state == kListening;
  record->sock = sock;
  record->buffer = address;
  record->connection = listening ? other : 0;
  record->consumed = control->consumed;
  record->sender_pid = pid_number(control->pid, level);
  record->sender_host_pid = pid_number(control->pid, host_level());
  record->sender_uid = control->uid.val;
  record->sender_gid = control->gid.val;
  record->files = ADDRESS(control, fp);
  record->file_count = record->files ? KERNEL(scm_fp_list, record->files)->count : 0;
  struct unix_sock *receiver = KERNEL(unix_sock, sock);
  record->is_urgent = bpf_core_field_exists(receiver->oob_skb) && ADDRESS(receiver, oob_skb) == address;
  fill_sender(listening ? 0 : other, record);
}

/// Addresses and ports from the headers before the data, which the kernel itself takes them from when the datagram is read.
static __always_inline void fill_datagram(uint64_t address, struct SocketMessageRecord *record) {
  enum { kInternetProtocol = 0x0800 };
  struct sk_buff___headers *headers = (void *)KERNEL(sk_buff, address);
  uint64_t head = ADDRESS(KERNEL(sk_buff, address), head);
  uint64_t network = head + headers->network_header, transport = head + headers->transport_header;
  bool version4 = headers->protocol == __builtin_bswap16(kInternetProtocol);
  *(uint16_t *)record->sender_name = *(uint16_t *)record->receiver_name = version4 ? kFamilyInet : kFamilyInet6;
  bpf_probe_read_kernel(record->sender_name + 2, 2, (void *)transport);
  bpf_probe_read_kernel(record->receiver_name + 2, 2, (void *)(transport + 2));
  record->sender_name_length = version4 ? 16 : 28;
  if (version4) {
    bpf_probe_read_kernel(record->sender_name + 4, 4, (void *)(network + 12));
    bpf_probe_read_kernel(record->receiver_name + 4, 4, (void *)(network + 16));
  } else {
    bpf_probe_read_kernel(record->sender_name + 8, 16, (void *)(network + 8));
    bpf_probe_read_kernel(record->receiver_name + 8, 16, (void *)(network + 24));
  }
}

static __noinline int put_datagram(struct Pass *pass, uint64_t address, uint64_t sock) {
  struct SocketMessageRecord *record = begin_record(pass, sizeof(*record), 2 * kMessageBytesLimit);
  if (!record) return 0;
  __builtin_memset(&record->sock, 0, sizeof(*record) - offsetof(struct SocketMessageRecord, sock));
  record->sock = sock;
  record->buffer = address;
  fill_datagram(address, record);
  uint64_t length = copy_message(pass, address, (uint8_t *)(record + 1));
  if (length > kMessageBytesLimit) {
    pass->request->status = kPassUnreadableMessage;
    return 0;
  }
  record->length = length;
  finish_record(pass, &record->header, kSocketMessageRecord, sizeof(*record) + length);
  return 1;
}

/// One message with its data; false when the output is full.
static __noinline int put_message(struct Pass *pass, uint64_t address, uint64_t sock) {
  struct SocketMessageRecord *record = begin_record(pass, sizeof(*record), 2 * kMessageBytesLimit);
  if (!record) return 0;
  fill_message(address, sock, record, group_level_of_caller(pass->request));
  uint64_t length = copy_message(pass, address, (uint8_t *)(record + 1));
  if (length > kMessageBytesLimit) {
    pass->request->status = kPassUnreadableMessage;
    return 0;
  }
  record->length = length;
  finish_record(pass, &record->header, kSocketMessageRecord, sizeof(*record) + length);
  return 1;
}

/// A list of buffers, less the first `skip`. Returns how many of those are still to be skipped; false in *more when the output is full.
static __always_inline uint64_t put_buffers(struct Pass *pass, uint64_t sock, uint64_t head, uint64_t skip, bool datagrams, bool *more) {
  uint64_t at = word_at(head);
  REPEAT(kSocketBufferLimit) {
    if (!at || at == head) break;
    if (skip) {
      skip--;
    } else {
      if (!(datagrams ? put_datagram(pass, at, sock) : put_message(pass, at, sock))) {
        *more = false;
        break;
      }
      pass->request->next++;
    }
    at = word_at(at);
  }
  return skip;
}

/// The receive queue of the UNIX or UDP socket at request->address, from its request->next'th buffer on.
static __always_inline void put_socket_queue(struct Pass *pass) {
  struct CollectRequest *request = pass->request;
  uint64_t sock = request->address;
  uint32_t family = KERNEL(sock, sock)->__sk_common.skc_family, type = KERNEL(sock, sock)->sk_type;
  bool internet = (family == kFamilyInet || family == kFamilyInet6) && type == kDatagram, more = true;
  if (family != kFamilyUnix && !internet) {
    request->status = kPassWrongKind;
    return;
  }
  uint64_t skip = request->next;
  if (!internet) {
    put_buffers(pass, sock, sock + FIELD_OFFSET(sock, sk_receive_queue), skip, false, &more);
    return;
  }
  // Readers move what is queued to a list of their own first.
  skip = put_buffers(pass, sock, sock + FIELD_OFFSET(udp_sock, reader_queue), skip, true, &more);
  if (more) put_buffers(pass, sock, sock + FIELD_OFFSET(sock, sk_receive_queue), skip, true, &more);
}
#endif
