/* SPDX-License-Identifier: (GPL-2.0-or-later WITH Linux-syscall-note) */
/*
 * The generic netlink family of the IPEQL module; ipeql.yaml says the same to machines.
 *
 * A bundle is made and deleted by rtnetlink (`ip link add ipeql0 type ipeql`), and its slaves may
 * be enslaved and freed there, one by one, with what IPEQL_CMD_BUNDLE_SET would take for default.
 * This family has the rest: the method, its parameters, and what is known of each slave.
 *
 * IPEQL_CMD_BUNDLE_SET (CAP_NET_ADMIN in the network namespace's user namespace)
 *	Replaces the bundle's whole table in one step: slaves not listed are freed, new ones
 *	enslaved, and staying ones keep counters, held packets, their flows and what the method
 *	knows of them. No packet is lost, and where anything is refused nothing has changed. Takes
 *	IFINDEX or IFNAME, METHOD, parameters, and SLAVE once for each slave, in order. What is left
 *	out has its default, whatever it was before.
 *
 * IPEQL_CMD_BUNDLE_ADJUST (CAP_NET_ADMIN as above)
 *	Replaces all earlier adjustments: IFINDEX or IFNAME, and SLAVE for each slave that is
 *	adjusted, with IFINDEX and BANDWIDTH, LAG, USABLE, of which what is left out has the
 *	table's value. USABLE 1 does not make a slave usable that is not by the table. Nothing is
 *	reset. It outlives BUNDLE_SET for slaves that stay, and BUNDLE_GET does not show it. What
 *	is no slave of the bundle is ignored.
 *
 * IPEQL_CMD_BUNDLE_GET (anybody)
 *	Returns one bundle, by IFINDEX or IFNAME, or as a dump all of the network namespace: the
 *	attributes that were set, and the counters. Parameters that were not given are left out.
 *
 * Errors: -ENODEV no such bundle, or no such slave; -EINVAL what cannot be, in words in the
 * extended acknowledgement; -EBUSY a slave that another device has; -E2BIG too many slaves.
 *
 * Units: rates bit/s, times ns, sizes bytes.
 */
#ifndef IPEQL_NETLINK_H
#define IPEQL_NETLINK_H

#define IPEQL_FAMILY_NAME "ipeql"
/* To be raised when an older daemon or module would misunderstand the other. */
#define IPEQL_FAMILY_VERSION 4

/* The methods, and the uses of a slave, are enum ipeql_method and enum ipeql_use, ipeql_methods.h. */

enum ipeql_count {
	IPEQL_COUNT_BYTES,
	IPEQL_COUNT_PACKETS,
};

enum ipeql_stripe_unit {
	IPEQL_STRIPE_UNIT_BURST, /* a GSO train stays together */
	IPEQL_STRIPE_UNIT_PACKET, /* every wire packet is placed by itself */
	IPEQL_STRIPE_UNIT_FLOW, /* all packets of a flow stay on one slave */
	IPEQL_STRIPE_UNIT_FLOWLET, /* those do that follow each other closely */
};

/* Where packets of the bundle that arrive on a slave go on. */
enum ipeql_receive {
	IPEQL_RECEIVE_BUNDLE, /* as if they had arrived on the bundle */
	IPEQL_RECEIVE_SLAVE, /* on the slave */
};

enum {
	IPEQL_CMD_BUNDLE_GET = 1,
	IPEQL_CMD_BUNDLE_SET,
	IPEQL_CMD_BUNDLE_ADJUST,

	__IPEQL_CMD_MAX
};
#define IPEQL_CMD_MAX (__IPEQL_CMD_MAX - 1)

enum {
	IPEQL_A_BUNDLE_IFINDEX = 1, /* u32 */
	IPEQL_A_BUNDLE_IFNAME, /* string */
	IPEQL_A_BUNDLE_METHOD, /* u32, enum ipeql_method; default round_robin */
	IPEQL_A_BUNDLE_PACKETS_PER_SLAVE, /* u32, default 1; round_robin */
	IPEQL_A_BUNDLE_COUNT, /* u32, enum ipeql_count; bw_load, bw_poll */
	IPEQL_A_BUNDLE_POLL_INTERVAL, /* u64, default 1 s; bw_poll */
	IPEQL_A_BUNDLE_QUEUE_LIMIT, /* u64, default 100 ms; bw_lag_eq */
	IPEQL_A_BUNDLE_MAX_HOLD, /* u64, default 500 ms; bw_lag_eq */
	IPEQL_A_BUNDLE_OVERFLOW_AFTER, /* u64, default 20 ms: a slave with more queued is full */
	IPEQL_A_BUNDLE_COPIES, /* u32, 1 to 8, default 2; duplicate */
	IPEQL_A_BUNDLE_LIGHT_DSCPS, /* u64, bit d: DSCP d takes the slave that delivers it first, */
	IPEQL_A_BUNDLE_DUPLICATE_DSCPS, /* u64, or the two that do, whatever the method */
	IPEQL_A_BUNDLE_STRIPE_UNIT, /* u32, enum ipeql_stripe_unit */
	IPEQL_A_BUNDLE_RECEIVE, /* u32, enum ipeql_receive */
	IPEQL_A_BUNDLE_SLAVE, /* nest of IPEQL_A_SLAVE_*, once for each slave */
	/* Packets that were dropped, u64, read only: */
	IPEQL_A_BUNDLE_NO_SLAVE, /* no slave was usable */
	IPEQL_A_BUNDLE_QUEUE_FULL, /* bw_lag_eq: beyond queue-limit */
	IPEQL_A_BUNDLE_MALFORMED, /* no IP packet */
	IPEQL_A_BUNDLE_NO_NEIGHBOUR, /* the next hop has no place in the neighbour table */
	IPEQL_A_BUNDLE_PAD,

	__IPEQL_A_BUNDLE_MAX
};
#define IPEQL_A_BUNDLE_MAX (__IPEQL_A_BUNDLE_MAX - 1)

enum {
	IPEQL_A_SLAVE_IFINDEX = 1, /* u32 */
	IPEQL_A_SLAVE_IFNAME, /* string, read only */
	IPEQL_A_SLAVE_BANDWIDTH, /* u64, 1000 or more */
	IPEQL_A_SLAVE_LAG, /* u64, one-way delay of the path */
	IPEQL_A_SLAVE_OVERHEAD, /* u32, bytes the wire adds; default 14 on Ethernet, else 0 */
	IPEQL_A_SLAVE_VIA, /* 4 bytes, next hop of IPv4 packets */
	IPEQL_A_SLAVE_VIA6, /* 16 bytes, next hop of IPv6 packets */
	IPEQL_A_SLAVE_USABLE, /* u8, default 1; 0: gets no packet, for whatever reason */
	IPEQL_A_SLAVE_USE, /* u32, enum ipeql_use, default always */
	/* Read only from here on. */
	IPEQL_A_SLAVE_RUNNING, /* u8, up and with carrier */
	IPEQL_A_SLAVE_PICKS, /* u64, packets or trains that the method gave it */
	IPEQL_A_SLAVE_PACKETS, /* u64, wire packets that it took */
	IPEQL_A_SLAVE_BYTES, /* u64, of IP, of these */
	IPEQL_A_SLAVE_RECEIVES, /* u8, for the bundle; 0 too where another device takes it all */
	IPEQL_A_SLAVE_RECEIVED_PACKETS, /* u64, that arrived here and were the bundle's */
	IPEQL_A_SLAVE_RECEIVED_BYTES, /* u64, of IP, of these */
	IPEQL_A_SLAVE_HELD_PACKETS, /* u32, bw_lag_eq: packets or trains held back */
	IPEQL_A_SLAVE_HELD_BYTES, /* u32, memory they take */
	/* Packets that were dropped, u64: */
	IPEQL_A_SLAVE_QUEUE_FULL, /* too much was held */
	IPEQL_A_SLAVE_LINK_FULL, /* the link's queue refused it */
	IPEQL_A_SLAVE_NO_NEIGHBOUR, /* it was held, and then had no place in the neighbour table */
	IPEQL_A_SLAVE_NO_MEMORY, /* there was none for its link header */
	IPEQL_A_SLAVE_PAD,

	__IPEQL_A_SLAVE_MAX
};
#define IPEQL_A_SLAVE_MAX (__IPEQL_A_SLAVE_MAX - 1)

#endif
