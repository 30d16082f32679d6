/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A bundle's maps, and what is in them. User space shares them: layout.py. */
#ifndef IPEQL_BUNDLE_H
#define IPEQL_BUNDLE_H

#include "address.h"

struct ipeql_packet;
int find_next(struct ipeql_packet *packet, __u32 set);
#define IPEQL_FIND_NEXT(table, set, packet) find_next(packet, set)
#include "ipeql_methods.h"

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
	__u32 device;  /* the interface at whose egress `stripe` runs */
	__u32 holder;  /* the one whose queueing discipline holds packets, 0: none are held */
	struct slave slave[IPEQL_MAX_SLAVES];
};

/*
 * Packets read the active table without a lock. User space gives them time to leave the two tables
 * of the other pair before it has `configure` write there. `adjust` changes to the other table of
 * the same pair, whose slaves and state are the same. A packet that is still reading that one, since
 * two adjustments before, takes some of its numbers from the one and some from the other.
 */
#define TABLES 4

struct bundle {
	__u64 settled;  /* the epoch in which every slave could be used, */
	__u64 quick;    /* and nothing of that is to be looked at for every packet of IPv4 */
	__u32 active;   /* which of the tables is in force */
	__u32 changing; /* `configure` or `adjust` is at work, on some CPU */
	struct table table[TABLES];
	/* Of the methods with virtual queues, or where others need them; bw_lag_eq has them locked. */
	struct ipeql_state state[2];
} bundle;

static __always_inline __u32 active_table(void)
{
	return *(volatile __u32 *)&bundle.active & (TABLES - 1);
}

/* Return which state goes with a table. */
static __always_inline __u32 state_of(__u32 table)
{
	return table >> 1 & 1;
}

/* What is held for one slave. */
struct held {
	__u64 line_free; /* when the slave has sent all that was given to it, by its bandwidth */
	__u64 due;       /* when the last packet leaves: none leaves before those that it follows */
	__u32 put;       /* packets that have gone into the holder, */
	__u32 taken;     /* and that have come out of it */
};

struct serialised {
	struct bpf_spin_lock lock;
	__u32 padding;
	struct ipeql_state state[2]; /* of bw_poll */
	struct held held[IPEQL_MAX_SLAVES]; /* in the places of the slaves' counters */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct serialised);
} serialised SEC(".maps");

struct counters {
	__u64 picks;
	__u64 packets;
	__u64 bytes;
	__u64 dropped; /* of the bundle: no slave was usable */
	__u64 full;    /* of the bundle: beyond queue-limit; of a slave: too much is held */
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

/* What counts of a packet beside what the methods see. */
struct view {
	struct address destination;
	struct address gateway; /* or the destination itself; once `routed` */
	__u32 ipv6;   /* 1, or 0: IPv4 */
	__u32 protocol; /* that follows the IP header */
	__u32 group;  /* to a multicast group or to 255.255.255.255: the method does not place it */
	__u32 broadcast; /* to all of a subnet; known once `routed` */
	__u32 routed; /* the packet's route has been looked at */
	/* The sets that survey() finds; in memory for the reason that ipeql_methods.h gives. */
	volatile __u32 running;
	volatile __u32 reachable;
	__u32 padding;
};

/* What a CPU keeps for itself. Programs at an egress are not interrupted by others there. */
struct lane {
	struct ipeql_state state[2]; /* of round_robin and bw_load */
	struct ipeql_packet packet;  /* the one being placed, */
	struct view view;            /* and more of it */
	__u64 due;                   /* when that is to leave, 0: at once */
	struct last_hop last_hop[IPEQL_MAX_SLAVES];
	struct counters counters[IPEQL_MAX_SLAVES + 1]; /* the last are the bundle's own */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lane);
} lanes SEC(".maps");

/* What is given of a slave: as configured, or as adjusted. */
struct given {
	__u32 ifindex;
	__u32 flags; /* layout.py: it is out, bandwidth is given, lag is given */
	__u32 overhead;
	__u32 padding;
	__u64 bandwidth;
	__u64 lag;
};

/* What user space takes to derive the paths anew. */
struct origins {
	__u64 revision; /* how often anything was put into force */
	__u64 poll_interval;
	__u32 count;
	__u32 count_packets;
	struct given configured[IPEQL_MAX_SLAVES];
	struct given adjusted[IPEQL_MAX_SLAVES]; /* of the same slaves */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct origins);
} origins SEC(".maps");

/* What `configure` is to put into force. */
struct incoming {
	struct table table;
	struct origins origins; /* its revision is the one that is to be replaced */
	__u32 origin[IPEQL_MAX_SLAVES];
	__u32 place[IPEQL_MAX_SLAVES]; /* the other way round: where a slave of the one in force is */
	__u32 fresh; /* the counters to begin anew, a bit each */
	__u32 cpus;
};

/* What `adjust` is given as its packet, behind a link header. */
struct adjusting {
	__u8 link[ETH_HLEN + 2];
	__u64 revision; /* the one that is to be replaced */
	__u32 usable;
	__u32 timed; /* this and the next two as in struct ipeql_parameters */
	__u32 order[IPEQL_MAX_SLAVES];
	struct ipeql_path path[IPEQL_MAX_SLAVES];
	struct given adjusted[IPEQL_MAX_SLAVES];
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

#endif
