// Sockets of every family: what they have in common, and addresses and sequence numbers of those we know.
#pragma once

#include "posix/record.bpf.h"

#ifdef __cplusplus
namespace perdure::posix {
#endif

/// What setsockopt() changes, without a meaning of its own here: while it stays the same, so do the socket's options.
struct SocketOptionWords {
  uint64_t incarnation;               ///< inode number: two sockets may have the same address one after the other
  uint64_t socket_flags, sock_flags, timestamping, receive_timeout, send_timeout, linger_time, filter, pacing_rate;
  uint64_t buffers, low_water_and_locks, priority_and_mark, reuse_and_interface, busy_poll;
  uint64_t inet_flags, service_and_ttl, multicast, multicast_memberships, ip_options, port_range;
  uint64_t ipv6_hops, ipv6_interfaces, ipv6_reception, ipv6_options, ipv6_memberships, flow_label;
  uint64_t udp_flags, udp_encapsulation;
  uint64_t tcp_nagle, tcp_keepalive, tcp_retries, tcp_segments, tcp_congestion, tcp_protocol, tcp_listening;
};

/// A socket; keyed by the address of struct sock.
struct SocketRecord {
  struct RecordHeader header;
  uint64_t sock;
  uint64_t file, inode;               ///< 0 for one that waits to be accepted
  uint64_t inode_number;
  uint64_t cookie;
  uint64_t flags;                     ///< socket.flags: SOCK_PASSCRED and the like, in the kernel's numbering
  uint64_t sock_flags;                ///< enum sock_flags as bits
  uint64_t receive_timeout, send_timeout, linger_time;  ///< in ticks
  uint64_t filter;                    ///< presence
  uint64_t peer_credentials;          ///< presence
  uint32_t family, type, protocol;
  uint32_t socket_state;              ///< SS_*
  uint32_t state;                     ///< TCP_*, which UNIX sockets share: 1 connected, 7 closed, 10 listening
  uint32_t shutdown;                  ///< 1 receive, 2 send
  uint32_t reuse_address, reuse_port, ipv6_only;
  uint32_t bound_interface;
  uint32_t receive_buffer, send_buffer, user_locks;     ///< user_locks: 1 send, 2 receive buffer, 4 address, 8 port set by the user
  uint32_t receive_low_water;
  uint32_t priority, mark;
  uint32_t error, soft_error;
  int32_t peek_offset;
  uint32_t receive_queue_memory, send_queue_memory;     ///< in bytes of accounting, overhead included
  uint32_t backlog_bytes;             ///< received, not yet on the receive queue
  uint32_t receive_queue_length, write_queue_length, error_queue_length;  ///< in buffers
  uint32_t accept_queue_length, accept_queue_limit;
  uint32_t network_namespace;
  uint32_t peer_pid, peer_host_pid, peer_uid, peer_gid; ///< SO_PEERCRED
  uint32_t receive_queue_bytes;       ///< of a UNIX socket: what is yet to be read
  uint32_t owner_uid, owner_gid;      ///< who made it, or whom fchown() gave it to
  uint32_t options;                   ///< SO_PASSCRED (1), SO_PASSSEC (2), SO_PASSPIDFD (4), SO_PASSRIGHTS (8) where kept in sock
  // UNIX
  uint64_t unix_peer;                 ///< sock
  uint64_t unix_listener;             ///< of a socket that waits to be accepted
  uint64_t unix_path_inode;
  uint64_t unix_path, unix_path_parent;  ///< dentries: another parent, or no link, tells that the name moved
  uint32_t unix_path_links, unix_path_mode, unix_path_uid, unix_path_gid;
  uint64_t unix_peer_peer;            ///< whom the peer is connected to
  uint32_t unix_peer_closed;
  uint32_t unix_peer_name_length;
  uint8_t unix_peer_name[112];
  uint64_t unix_urgent;               ///< presence of out-of-band data
  uint32_t unix_name_length;          ///< of the address, family included; 0 unnamed
  uint8_t unix_name[112];             ///< sockaddr_un
  uint32_t local_port, remote_port;   ///< IP; of netlink: port ids
  uint8_t local_address[16], remote_address[16];  ///< IPv6, or four bytes of IPv4
  uint32_t type_of_service, ttl;
  // TCP
  uint32_t tcp_copied_seq, tcp_rcv_nxt, tcp_snd_una, tcp_snd_nxt, tcp_write_seq;
  uint32_t netlink_group_count;
  uint64_t multicast_memberships;     ///< presence
  struct SocketOptionWords option_words;
};

#ifdef __cplusplus
}  // namespace perdure::posix
#endif

#ifdef __bpf__
#include "posix/output.bpf.h"
#include "posix/task.bpf.h"

enum { kSocketBufferLimit = 1 << 16 };
enum { kDeadSocket = 1, kDatagram = 2 };
enum { kFamilyUnix = 1, kFamilyInet = 2, kFamilyInet6 = 10, kFamilyNetlink = 16, kProtocolTcp = 6, kStream = 1 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
typedef enum { SS_FREE } socket_state;
struct socket {
  socket_state state;
  short type;
  unsigned long flags;
  struct file *file;
  struct sock *sk;
};
struct in6_addr {
  union {
    uint8_t u6_addr8[16];
  } in6_u;
};
typedef struct {
  struct net *net;
} possible_net_t;
struct sock_common {
  uint32_t skc_daddr, skc_rcv_saddr;
  uint16_t skc_dport, skc_num;
  unsigned short skc_family;
  volatile unsigned char skc_state;
  unsigned char skc_reuse : 4;
  unsigned char skc_reuseport : 1;
  unsigned char skc_ipv6only : 1;
  int skc_bound_dev_if;
  possible_net_t skc_net;
  struct in6_addr skc_v6_daddr, skc_v6_rcv_saddr;
  atomic64_t skc_cookie;
  unsigned long skc_flags;
};
struct sk_buff_head {
  uint32_t qlen;
};
struct unix_skb_parms {
  struct pid *pid;
  kuid_t uid;
  kgid_t gid;
  struct scm_fp_list *fp;
  uint32_t consumed;
};
struct sk_buff {
  struct sk_buff *next;
  struct sock *sk;
  char cb[48];
  unsigned int len, data_len;
  unsigned int end;
  unsigned char *head, *data;
};
struct sock {
  struct sock_common __sk_common;
  int sk_peek_off;
  struct sk_buff_head sk_error_queue, sk_receive_queue, sk_write_queue;
  struct {
    atomic_t rmem_alloc;
    int len;
  } sk_backlog;
  unsigned char sk_userlocks;
  int sk_rcvbuf, sk_sndbuf, sk_rcvlowat, sk_err, sk_err_soft, sk_wmem_queued;
  struct sk_filter *sk_filter;
  long sk_rcvtimeo, sk_sndtimeo;
  refcount_t sk_wmem_alloc;
  uint32_t sk_priority, sk_mark, sk_tsflags;
  unsigned long sk_max_pacing_rate;
  unsigned int sk_ll_usec;
  uint16_t sk_protocol, sk_type;
  unsigned char sk_shutdown;
  unsigned long sk_lingertime;
  uint32_t sk_ack_backlog, sk_max_ack_backlog;
  struct pid *sk_peer_pid;
  const struct cred *sk_peer_cred;
  struct socket *sk_socket;
};
struct sock___scm {
  unsigned char sk_scm_recv_flags;
};
struct sockaddr_un {
  unsigned short sun_family;
};
struct unix_address {
  int len;
  struct sockaddr_un name[1];
};
struct unix_sock {
  struct sock sk;
  struct unix_address *addr;
  struct path path;
  struct sock *peer, *listener;
  struct sk_buff *oob_skb;
};
struct ipv6_pinfo {
  uint32_t flow_label;
  struct ipv6_txoptions *opt;
  short hop_limit;
  unsigned char pmtudisc, tclass, mcast_hops, srcprefs, min_hopcount;
  uint32_t frag_size;
  int ucast_oif, mcast_oif;
  union {
    uint16_t all;
  } rxopt;
  struct ipv6_mc_socklist *ipv6_mc_list;
};
struct inet_sock {
  struct ipv6_pinfo *pinet6;
  unsigned long inet_flags;
  uint16_t inet_sport;
  uint32_t inet_saddr;
  struct ip_options_rcu *inet_opt;
  unsigned char tos, min_ttl, mc_ttl, pmtudisc, rcv_tos;
  short uc_ttl;
  int uc_index, mc_index;
  uint32_t mc_addr, local_port_range;
  struct ip_mc_socklist *mc_list;
};
struct fastopen_queue {
  int max_qlen;
};
struct request_sock_queue {
  uint8_t rskq_defer_accept;
  struct fastopen_queue fastopenq;
};
struct inet_connection_sock {
  struct request_sock_queue icsk_accept_queue;
  const struct tcp_congestion_ops *icsk_ca_ops;
  const struct tcp_ulp_ops *icsk_ulp_ops;
  uint8_t icsk_syn_retries;
  uint32_t icsk_user_timeout;
};
struct tcp_options_received {
  uint16_t user_mss;
};
struct tcp_sock {
  uint32_t copied_seq, rcv_nxt, snd_una, snd_nxt, write_seq;
  uint32_t notsent_lowat, tcp_tx_delay;
  uint8_t nonagle : 4;
  uint8_t thin_lto : 1;
  uint8_t fastopen_connect : 1;
  uint8_t fastopen_no_cookie : 1;
  uint8_t save_syn : 2;
  uint8_t recvmsg_inq : 1;
  uint8_t keepalive_probes;
  uint32_t keepalive_time, keepalive_intvl;
  int linger2;
  struct tcp_options_received rx_opt;
};
struct udp_sock {
  unsigned long udp_flags;
  uint8_t encap_type;
  uint16_t gso_size;
  struct sk_buff_head reader_queue;
};
struct netlink_sock {
  uint32_t portid, dst_portid, ngroups;
};
struct socket_alloc {
  struct socket socket;
  struct inode vfs_inode;
};
#pragma clang attribute pop

static __always_inline void fill_buffers(struct sock *sock, struct SocketRecord *record) {
  record->receive_buffer = sock->sk_rcvbuf;
  record->send_buffer = sock->sk_sndbuf;
  record->user_locks = sock->sk_userlocks;
  record->receive_low_water = sock->sk_rcvlowat;
  record->receive_timeout = sock->sk_rcvtimeo;
  record->send_timeout = sock->sk_sndtimeo;
  record->linger_time = sock->sk_lingertime;
  record->receive_queue_memory = sock->sk_backlog.rmem_alloc.counter;
  record->send_queue_memory = sock->sk_wmem_alloc.refs.counter;
  record->backlog_bytes = sock->sk_backlog.len;
  record->receive_queue_length = sock->sk_receive_queue.qlen;
  record->write_queue_length = sock->sk_write_queue.qlen;
  record->error_queue_length = sock->sk_error_queue.qlen;
  record->accept_queue_length = sock->sk_ack_backlog;
  record->accept_queue_limit = sock->sk_max_ack_backlog;
}

static __always_inline void fill_peer(struct sock *sock, struct SocketRecord *record, uint32_t level) {
  struct pid *pid = sock->sk_peer_pid;
  const struct cred *cred = sock->sk_peer_cred;
  record->peer_pid = pid_number(pid, level);
  record->peer_host_pid = pid_number(pid, host_level());
  record->peer_credentials = (uint64_t)cred;
  record->peer_uid = cred ? cred->euid.val : 0;
  record->peer_gid = cred ? cred->egid.val : 0;
}

static __always_inline void fill_sock(struct sock *sock, struct SocketRecord *record) {
  struct sock_common *common = &sock->__sk_common;
  record->family = common->skc_family;
  record->type = sock->sk_type;
  record->protocol = sock->sk_protocol;
  record->state = common->skc_state;
  record->shutdown = sock->sk_shutdown;
  record->reuse_address = BPF_CORE_READ_BITFIELD(common, skc_reuse);
  record->reuse_port = BPF_CORE_READ_BITFIELD(common, skc_reuseport);
  record->ipv6_only = BPF_CORE_READ_BITFIELD(common, skc_ipv6only);
  record->bound_interface = common->skc_bound_dev_if;
  record->cookie = common->skc_cookie.counter;
  record->sock_flags = common->skc_flags;
  record->filter = (uint64_t)sock->sk_filter;
  record->priority = sock->sk_priority;
  record->mark = sock->sk_mark;
  record->error = sock->sk_err;
  record->soft_error = sock->sk_err_soft;
  record->peek_offset = sock->sk_peek_off;
  record->network_namespace = common->skc_net.net->ns.inum;
  record->options = FIELD_OR_ZERO((struct sock___scm *)sock, sk_scm_recv_flags);
}

static __always_inline uint64_t both(uint64_t high, uint32_t low) { return high << 32 | low; }

static __always_inline void fill_option_words(struct sock *sock, struct SocketRecord *record) {
  struct SocketOptionWords *words = &record->option_words;
  // What a connection's end sets by itself is no option.
  enum { kStateFlags = 1 << 0 | 1 << 1 };
  words->incarnation = record->inode_number;
  words->socket_flags = both(record->flags, record->options);
  words->sock_flags = record->sock_flags & ~(uint64_t)kStateFlags;
  words->timestamping = FIELD_OR_ZERO(sock, sk_tsflags);
  words->receive_timeout = sock->sk_rcvtimeo;
  words->send_timeout = sock->sk_sndtimeo;
  words->linger_time = sock->sk_lingertime;
  words->filter = (uint64_t)sock->sk_filter;
  words->pacing_rate = sock->sk_max_pacing_rate;
  words->buffers = both(sock->sk_rcvbuf, sock->sk_sndbuf);
  words->low_water_and_locks = both(sock->sk_rcvlowat, sock->sk_userlocks);
  words->priority_and_mark = both(sock->sk_priority, sock->sk_mark);
  words->reuse_and_interface = both(record->reuse_address << 2 | record->reuse_port << 1 | record->ipv6_only, record->bound_interface);
  words->busy_poll = FIELD_OR_ZERO(sock, sk_ll_usec);
}

static __always_inline void fill_inet_option_words(uint64_t address, struct SocketRecord *record) {
  struct SocketOptionWords *words = &record->option_words;
  struct inet_sock *inet = KERNEL(inet_sock, address);
  words->inet_flags = inet->inet_flags;
  words->service_and_ttl = (uint64_t)inet->tos | (uint64_t)inet->min_ttl << 8 | (uint64_t)inet->mc_ttl << 16 |
                           (uint64_t)inet->pmtudisc << 24 | (uint64_t)(uint16_t)inet->uc_ttl << 32;
  words->multicast = both(inet->mc_index, inet->mc_addr) ^ (uint64_t)inet->uc_index << 16;
  words->multicast_memberships = (uint64_t)inet->mc_list;
  words->ip_options = (uint64_t)inet->inet_opt;
  words->port_range = FIELD_OR_ZERO(inet, local_port_range);
  uint64_t pinet6 = record->family == kFamilyInet6 && bpf_core_field_exists(inet->pinet6) ? ADDRESS(inet, pinet6) : 0;
  if (!pinet6) return;
  struct ipv6_pinfo *info = KERNEL(ipv6_pinfo, pinet6);
  words->ipv6_hops = both((uint16_t)info->hop_limit | (uint32_t)info->mcast_hops << 16 | (uint32_t)info->min_hopcount << 24,
                          info->pmtudisc | (uint32_t)info->tclass << 8 | (uint32_t)info->srcprefs << 16);
  words->ipv6_interfaces = both(info->ucast_oif, info->mcast_oif);
  words->ipv6_reception = both(info->rxopt.all, info->frag_size);
  words->ipv6_options = (uint64_t)info->opt;
  words->ipv6_memberships = (uint64_t)info->ipv6_mc_list;
  words->flow_label = info->flow_label;
}

static __always_inline void fill_transport_option_words(uint64_t address, struct SocketRecord *record) {
  struct SocketOptionWords *words = &record->option_words;
  if (record->type == kDatagram) {
    struct udp_sock *udp = KERNEL(udp_sock, address);
    words->udp_flags = FIELD_OR_ZERO(udp, udp_flags);
    words->udp_encapsulation = both(FIELD_OR_ZERO(udp, encap_type), FIELD_OR_ZERO(udp, gso_size));
    return;
  }
  struct tcp_sock *tcp = KERNEL(tcp_sock, address);
  struct inet_connection_sock *connection = KERNEL(inet_connection_sock, address);
  words->tcp_nagle = BPF_CORE_READ_BITFIELD(tcp, nonagle);
  if (bpf_core_field_exists(tcp->thin_lto)) words->tcp_nagle |= BPF_CORE_READ_BITFIELD(tcp, thin_lto) << 8;
  if (bpf_core_field_exists(tcp->fastopen_connect)) words->tcp_nagle |= BPF_CORE_READ_BITFIELD(tcp, fastopen_connect) << 9;
  if (bpf_core_field_exists(tcp->fastopen_no_cookie)) words->tcp_nagle |= BPF_CORE_READ_BITFIELD(tcp, fastopen_no_cookie) << 10;
  if (bpf_core_field_exists(tcp->save_syn)) words->tcp_nagle |= BPF_CORE_READ_BITFIELD(tcp, save_syn) << 12;
  if (bpf_core_field_exists(tcp->recvmsg_inq)) words->tcp_nagle |= BPF_CORE_READ_BITFIELD(tcp, recvmsg_inq) << 14;
  words->tcp_keepalive = both(tcp->keepalive_time, tcp->keepalive_intvl) ^ (uint64_t)tcp->keepalive_probes << 24;
  words->tcp_retries = both(tcp->linger2, connection->icsk_user_timeout) ^ (uint64_t)connection->icsk_syn_retries << 24;
  words->tcp_segments = both(tcp->rx_opt.user_mss, tcp->notsent_lowat);
  words->tcp_congestion = (uint64_t)connection->icsk_ca_ops;
  words->tcp_protocol = (uint64_t)connection->icsk_ulp_ops;
  words->tcp_listening = both(connection->icsk_accept_queue.rskq_defer_accept, connection->icsk_accept_queue.fastopenq.max_qlen);
}

/// What a UNIX socket's receive queue holds and the reader has not had yet.
static __always_inline uint32_t unread_bytes(struct sock *sock) {
  uint64_t head = (uint64_t)sock + FIELD_OFFSET(sock, sk_receive_queue), at = word_at(head);
  uint32_t bytes = 0;
  REPEAT(kSocketBufferLimit) {
    if (at == head || !at) break;
    struct sk_buff *buffer = KERNEL(sk_buff, at);
    struct unix_skb_parms *control = KERNEL(unix_skb_parms, at + FIELD_OFFSET(sk_buff, cb));
    bytes += buffer->len - control->consumed;
    at = word_at(at);
  }
  return bytes;
}

static __always_inline void fill_unix_path(struct dentry *dentry, struct SocketRecord *record) {
  struct inode *inode = dentry ? dentry->d_inode : NULL;
  record->unix_path = (uint64_t)dentry;
  record->unix_path_parent = dentry ? ADDRESS(dentry, d_parent) : 0;
  record->unix_path_inode = inode ? inode->i_ino : 0;
  record->unix_path_links = inode ? inode->i_nlink : 0;
  record->unix_path_mode = inode ? inode->i_mode : 0;
  record->unix_path_uid = inode ? inode->i_uid.val : 0;
  record->unix_path_gid = inode ? inode->i_gid.val : 0;
}

/// A peer that is closed stays in memory, with its name, for as long as the socket is connected to it.
static __always_inline void fill_unix_peer(struct SocketRecord *record) {
  uint64_t address = record->unix_peer;
  if (!address) return;
  struct unix_sock *peer = KERNEL(unix_sock, address);
  record->unix_peer_peer = (uint64_t)peer->peer;
  record->unix_peer_closed = KERNEL(sock, address)->__sk_common.skc_flags & kDeadSocket;
  uint64_t name = ADDRESS(peer, addr);
  if (!name) return;
  record->unix_peer_name_length = KERNEL(unix_address, name)->len;
  uint64_t size = at_most(record->unix_peer_name_length, sizeof(record->unix_peer_name));
  bpf_probe_read_kernel(record->unix_peer_name, size, (void *)(name + FIELD_OFFSET(unix_address, name)));
}

static __always_inline void fill_unix(uint64_t address, struct SocketRecord *record) {
  struct unix_sock *unix_socket = KERNEL(unix_sock, address);
  record->unix_peer = (uint64_t)unix_socket->peer;
  record->unix_listener = (uint64_t)FIELD_OR_ZERO(unix_socket, listener);
  fill_unix_path(unix_socket->path.dentry, record);
  fill_unix_peer(record);
  record->unix_urgent = (uint64_t)FIELD_OR_ZERO(unix_socket, oob_skb);
  uint64_t name = ADDRESS(unix_socket, addr);
  if (name) {
    record->unix_name_length = KERNEL(unix_address, name)->len;
    uint64_t size = at_most(record->unix_name_length, sizeof(record->unix_name));
    bpf_probe_read_kernel(record->unix_name, size, (void *)(name + FIELD_OFFSET(unix_address, name)));
  }
  record->receive_queue_bytes = unread_bytes(KERNEL(sock, address));
}

static __always_inline void fill_inet(uint64_t address, struct SocketRecord *record) {
  struct sock_common *common = &KERNEL(sock, address)->__sk_common;
  struct inet_sock *inet = KERNEL(inet_sock, address);
  record->local_port = __builtin_bswap16(inet->inet_sport);
  record->remote_port = __builtin_bswap16(common->skc_dport);
  record->type_of_service = inet->tos;
  record->ttl = inet->uc_ttl;
  if (record->family == kFamilyInet) {
    bpf_probe_read_kernel(record->local_address, 4, &common->skc_rcv_saddr);
    bpf_probe_read_kernel(record->remote_address, 4, &common->skc_daddr);
  } else if (bpf_core_field_exists(common->skc_v6_daddr)) {
    bpf_probe_read_kernel(record->local_address, 16, &common->skc_v6_rcv_saddr);
    bpf_probe_read_kernel(record->remote_address, 16, &common->skc_v6_daddr);
  }
  fill_inet_option_words(address, record);
  record->multicast_memberships = record->option_words.multicast_memberships | record->option_words.ipv6_memberships;
  if (record->protocol == kProtocolTcp || record->type == kDatagram) fill_transport_option_words(address, record);
  if (record->protocol != kProtocolTcp || record->type != kStream) return;
  struct tcp_sock *tcp = KERNEL(tcp_sock, address);
  record->tcp_copied_seq = tcp->copied_seq;
  record->tcp_rcv_nxt = tcp->rcv_nxt;
  record->tcp_snd_una = tcp->snd_una;
  record->tcp_snd_nxt = tcp->snd_nxt;
  record->tcp_write_seq = tcp->write_seq;
}

static __always_inline void fill_netlink(uint64_t address, struct SocketRecord *record) {
  struct netlink_sock *netlink = KERNEL(netlink_sock, address);
  record->local_port = netlink->portid;
  record->remote_port = netlink->dst_portid;
  record->netlink_group_count = netlink->ngroups;
}

/// A socket, given by its struct sock, once. `socket` may be null. False when the output is full.
static __noinline int put_socket(struct Pass *pass, uint64_t address, uint64_t socket_address, uint32_t level) {
  if (!address || was_seen(pass, address)) return 1;
  struct SocketRecord *record = begin_record(pass, sizeof(*record), 0);
  if (!record) return 0;
  __builtin_memset(&record->unix_peer, 0, sizeof(*record) - offsetof(struct SocketRecord, unix_peer));
  record->receive_queue_bytes = 0;
  record->sock = address;
  struct socket *socket = KERNEL(socket, socket_address);
  record->flags = socket_address ? socket->flags : 0;
  record->socket_state = socket_address ? socket->state : 0;
  record->file = socket_address ? word_at(socket_address + FIELD_OFFSET(socket, file)) : 0;
  record->inode = socket_address ? socket_address - FIELD_OFFSET(socket_alloc, socket) + FIELD_OFFSET(socket_alloc, vfs_inode) : 0;
  record->inode_number = socket_address ? KERNEL(inode, record->inode)->i_ino : 0;
  record->owner_uid = socket_address ? KERNEL(inode, record->inode)->i_uid.val : 0;
  record->owner_gid = socket_address ? KERNEL(inode, record->inode)->i_gid.val : 0;
  struct sock *sock = KERNEL(sock, address);
  fill_sock(sock, record);
  fill_buffers(sock, record);
  fill_peer(sock, record, level);
  fill_option_words(sock, record);
  if (record->family == kFamilyUnix) fill_unix(address, record);
  else if (record->family == kFamilyInet || record->family == kFamilyInet6) fill_inet(address, record);
  else if (record->family == kFamilyNetlink) fill_netlink(address, record);
  finish_record(pass, &record->header, kSocketRecord, sizeof(*record));
  mark_seen(pass, address);
  return 1;
}
#endif
