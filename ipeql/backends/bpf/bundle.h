/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A bundle's maps, and what is in them. User space shares them: layout.py. */
#ifndef IPEQL_BUNDLE_H
#define IPEQL_BUNDLE_H

#include "ipeql_methods.h"

/* An IPv4 address is mapped into IPv6 (::ffff:a.b.c.d). */
struct address {
	__u32 word[4];
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
	struct address address;
};

/* How to reach a slave. */
struct slave {
	__u64 device; /* its struct net_device, 0: not looked at */
	__u32 ifindex;
	__u32 counters; /* its place in a lane's counters, which it keeps as long as it stays */
	__u32 link;
	__u32 padding;
	struct address via;  /* next hop of IPv4 packets, all 0: none given */
	struct address via6; /* the same of IPv6 packets */
};

struct table {
	struct ipeql_parameters parameters;
	__u32 usable; /* by the word of whoever judges the slaves' health */
	__u32 padding;
	struct slave slave[IPEQL_MAX_SLAVES];
};

/*
 * Packets read the active table without a lock. User space gives them time to leave the other one
 * before it has `configure` write there.
 */
struct bundle {
	struct bpf_spin_lock lock; /* of the state of bw_poll */
	__u32 active;              /* which of the two tables is in force */
	__u32 trouble;             /* a slave cannot be used: look at all of them for every packet */
	__u32 padding;
	struct table table[2];
	struct ipeql_state state[2]; /* of the methods that have one for all CPUs */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bundle);
} bundles SEC(".maps");

struct counters {
	__u64 picks;
	__u64 packets;
	__u64 bytes;
	__u64 dropped; /* of the bundle: no slave was usable */
};

/* The next hop of the last packet to a slave, and the link header's addresses. */
struct last_hop {
	__u64 generation; /* of what is known of neighbours */
	struct hop hop;
	__u32 header[3];
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

/* The configuration in its own words, for whoever adopts the bundle. */
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

static __always_inline struct address mapped(__be32 ipv4)
{
	return (struct address){ { 0, 0, bpf_htonl(0xffff), ipv4 } };
}

static __always_inline bool is_given(const struct address *address)
{
	return address->word[0] | address->word[1] | address->word[2] | address->word[3];
}

static __always_inline bool is_same(const struct address *one, const struct address *other)
{
	return one->word[3] == other->word[3] && one->word[2] == other->word[2] &&
	       one->word[1] == other->word[1] && one->word[0] == other->word[0];
}

#endif
