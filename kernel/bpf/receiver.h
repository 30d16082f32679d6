/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the receiving program knows of a bundle. User space shares it: receive/layout.py. */
#ifndef IPEQL_RECEIVER_H
#define IPEQL_RECEIVER_H

#include "address.h"

#define MAX_SLAVES 32
#define NOT_OURS 0xffffffffU
#define ALL 0 /* the bundle itself, in the place of a slave's ifindex */

struct receiver {
	__u64 epoch; /* a new one begins with every change of the maps */
	__u8 mac[ETH_ALEN]; /* of the bundle's device */
	__u8 header;  /* 1: packets have to carry a link header there */
	__u8 rewrite; /* 1: that has to be to its own address */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct receiver);
} receiver SEC(".maps");

/*
 * The device where packets go on. The kernel takes it out of a map of this type when the device
 * goes away, whoever removed it: then everything stays with the slaves.
 */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} target SEC(".maps");

struct source {
	__u32 bits;
	__u32 address[4]; /* a struct address, which cannot stand here */
};

/* The networks by the longest prefix: 1 where the bundle routes there, 0 where a slave does. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct source);
	__type(value, __u32);
} sources SEC(".maps");

struct local {
	__u32 ifindex; /* a slave's, or ALL */
	__u32 padding;
	struct address address;
};

/* The addresses of the slaves, and of the bundle. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct local);
	__type(value, __u32);
} locals SEC(".maps");

struct member {
	__u32 place; /* in a lane's counters, which it keeps as long as it stays */
	__u8 mac[ETH_ALEN];
	__u16 padding;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * MAX_SLAVES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct member);
} members SEC(".maps");

struct counters {
	__u64 packets;
	__u64 bytes;
};

/* What became of packets from `source` to `destination` on a slave. */
struct verdict {
	struct address source;
	struct address destination;
	__u64 epoch; /* in which it was found; it is valid in no other */
	__u32 ifindex;
	__u32 place; /* of the slave's counters, or NOT_OURS */
};

#define VERDICTS 64

/* What a CPU keeps for itself. Programs at an ingress are not interrupted by others there. */
struct lane {
	struct verdict verdict[VERDICTS];
	struct counters counters[MAX_SLAVES];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lane);
} lanes SEC(".maps");

/* What is in force as JSON, for a daemon that adopts the bundle. */
#define DOCUMENT 65536
struct document {
	__u8 text[DOCUMENT];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct document);
} document SEC(".maps");

#endif
