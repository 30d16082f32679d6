/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Slaves in reserve, and flows that stay on their slave, whatever the method is. */
#ifndef IPEQL_RULE_H
#define IPEQL_RULE_H

#include "bundle.h"
#include "packet.h"

/* What each flow is kept to (ipeql_methods.h). User space makes it where flows are kept. */
struct buckets {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, IPEQL_BUCKETS);
	__type(key, __u32);
	__type(value, __u64);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct buckets);
} flows SEC(".maps");

static __always_inline __u64 *find_bucket(__u32 at)
{
	__u32 zero = 0;
	void *buckets = bpf_map_lookup_elem(&flows, &zero);

	at %= IPEQL_BUCKETS;
	return buckets ? bpf_map_lookup_elem(buckets, &at) : 0;
}

/* Return the bucket of a packet's flow. Fragments have one without ports. */
static __always_inline __u64 *bucket_of(struct __sk_buff *skb)
{
	return find_bucket(injected ? skb->mark : bpf_get_hash_recalc(skb));
}

__noinline int find_next(struct ipeql_packet *packet, __u32 set)
{
	if (packet)
		ipeql_find_next(&bundle.table[active_table()].parameters, set, packet);
	return 0;
}

static long move_bucket(__u32 at, void *context)
{
	__u32 zero = 0, slave, place;
	const struct incoming *wanted = bpf_map_lookup_elem(&incoming, &zero);
	__u64 *bucket = find_bucket(at);

	if (!wanted || !bucket || !*bucket)
		return 0;
	slave = IPEQL_AT(*bucket);
	place = wanted->place[slave];
	*bucket = place < IPEQL_MAX_SLAVES ? *bucket - slave + place : 0;
	return 0;
}

/* Let flows stay on their slaves, which may have other places in the incoming table. */
static __always_inline void move_flows(const struct incoming *wanted)
{
	if (wanted->table.parameters.flows)
		bpf_loop(IPEQL_BUCKETS, move_bucket, 0, 0);
}

#endif
