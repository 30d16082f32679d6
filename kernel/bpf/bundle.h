/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A bundle's maps, and what is in them. User space shares them: layout.py. */
#ifndef IPEQL_BUNDLE_H
#define IPEQL_BUNDLE_H

#include "ipeql_methods.h"

/* An IPv4 address is mapped into IPv6 (::ffff:a.b.c.d). */
struct address {
	union {
		__u32 word[4];
		__u64 half[2];
	};
};

enum link {
	LINK_BARE,          /* no link header, and bpf_redirect() knows it (dev_is_mac_header_xmit) */
	LINK_FIXED,         /* Ethernet without neighbours: the other end takes whatever is sent */
	LINK_NO_NEIGHBOURS, /* what else has none */
	LINK_ETHERNET,
	LINK_OTHER,         /* neighbours whose addresses are not Ethernet's */
};

/* A next hop on a link. */
struct hop {
	__u32 ifindex;
	__u32 padding;
	struct address address;
};

/* How to reach a slave. */
struct slave {
	__u64 device; /* its struct net_device, 0: not looked at */
	__u32 ifindex;
	__u32 counters; /* its place in a lane's counters, which it keeps as long as it stays */
	__u32 link;
	__u32 vias;            /* which of these are given, a bit each */
	struct address via[2]; /* next hop of IPv4 packets, and of IPv6 packets */
};

struct table {
	struct ipeql_parameters parameters;
	__u32 usable;  /* as the control plane decides */
	__u32 watched; /* links and routes: what happens to them is a change */
	struct slave slave[IPEQL_MAX_SLAVES];
};

/*
 * Packets read the active table without a lock. User space gives them time to leave the other one
 * before it has `configure` write there.
 */
struct bundle {
	__u64 settled; /* the epoch in which every slave could be used */
	__u32 active;  /* which of the two tables is in force */
	__u32 padding;
	struct table table[2];
	struct ipeql_state state[2]; /* of the methods that all CPUs share without a lock */
} bundle;

struct polled {
	struct bpf_spin_lock lock;
	__u32 padding;
	struct ipeql_state state[2]; /* of bw_poll */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct polled);
} polled SEC(".maps");

struct counters {
	__u64 picks;
	__u64 packets;
	__u64 bytes;
	__u64 dropped; /* of the bundle: no slave was usable */
};

/* Where the last packet to a slave went, and its link header's addresses. */
struct last_hop {
	__u64 epoch; /* in which this was found; it is valid in no other */
	__u32 ifindex;
	__u32 any; /* all packets of IPv4 (bit 0), IPv6 (bit 1) go there */
	struct address destination;
	struct address next_hop;
	__u32 header[3];
	__u32 padding;
};

/* What a CPU keeps for itself. Programs at an egress are not interrupted by others there. */
struct lane {
	struct ipeql_state state[2]; /* of round_robin and bw_load */
	struct ipeql_packet packet;  /* the one being placed */
	struct last_hop last_hop[IPEQL_MAX_SLAVES];
	struct counters counters[IPEQL_MAX_SLAVES + 1]; /* the last are the bundle's own */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lane);
} lanes SEC(".maps");

/* What `configure` is to put into force. */
struct incoming {
	struct table table;
	__u32 origin[IPEQL_MAX_SLAVES];
	__u32 fresh; /* the counters to begin anew, a bit each */
	__u32 cpus;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct incoming);
} incoming SEC(".maps");

/* The configuration as JSON, for a daemon that adopts the bundle. */
#define DOCUMENT 16384
struct document {
	__u8 text[DOCUMENT];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct document);
} document SEC(".maps");

/*
 * A new epoch begins when the way of a packet may be another: a link goes down, or a neighbour, a
 * route or the table changes.
 */
__u64 epoch = 1;

static __always_inline __u64 current_epoch(void)
{
	return *(volatile __u64 *)&epoch;
}

static __always_inline void note_change(void)
{
	__sync_fetch_and_add(&epoch, 1);
}

static __always_inline struct address mapped(__be32 ipv4)
{
	return (struct address){ { .word = { 0, 0, bpf_htonl(0xffff), ipv4 } } };
}

static __always_inline bool is_ipv4(const struct address *address)
{
	return address->half[0] == 0 && address->word[2] == bpf_htonl(0xffff);
}

static __always_inline bool is_same(const struct address *one, const struct address *other)
{
	return one->half[1] == other->half[1] && one->half[0] == other->half[0];
}

#endif
