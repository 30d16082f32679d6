/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kernel knows of next hops: kept by its tracepoints, read by packets. */
#ifndef IPEQL_NEIGHBOUR_H
#define IPEQL_NEIGHBOUR_H

#include "bundle.h"
#include "kernel.h"
#include "slave.h"

#define NEIGHBOURS 4096
#define RETRY_NS 1000000000 /* one packet in this time goes to a neighbour that does not answer */

struct known {
	__u64 asked;     /* 0: resolved, else when it was asked for or failed */
	__u8 lladdr[6];
	__u8 connected;  /* lladdr may be used without the kernel's wanting to check it */
	__u8 padding;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, NEIGHBOURS);
	__type(key, struct hop);
	__type(value, struct known);
} neighbours SEC(".maps");

enum reach { RESOLVED, UNKNOWN, WAITING };

/* Say what is known of a packet's next hop on a slave. */
static __always_inline enum reach reach_of(const struct slave *slave, const struct view *view,
					   __u64 now)
{
	const struct known *known;
	struct hop hop;

	if (slave->link < LINK_ETHERNET || is_to_many(view))
		return RESOLVED;
	hop = next_hop(slave, view);
	known = bpf_map_lookup_elem(&neighbours, &hop);
	if (!known)
		return UNKNOWN;
	if (!known->asked)
		return RESOLVED;
	return now - known->asked < RETRY_NS ? WAITING : UNKNOWN;
}

/* Let the slave rest until the next hop is resolved: this packet is about to ask for it. */
static __always_inline void ask(const struct hop *hop, __u64 now)
{
	struct known *known = bpf_map_lookup_elem(&neighbours, hop), asked = { .asked = now };
	__u64 before;

	if (!known) {
		bpf_map_update_elem(&neighbours, hop, &asked, BPF_NOEXIST);
		return;
	}
	before = known->asked;
	if (before)
		__sync_val_compare_and_swap(&known->asked, before, now);
}

/*
 * Find the link header's addresses for a hop and remember them in `last`. False: the kernel has to
 * send it. What changes after the epoch was read outdates what is remembered.
 */
static __always_inline bool find_header(const struct slave *slave, const struct hop *hop,
					const struct view *view, struct last_hop *last)
{
	__u64 epoch = current_epoch();
	__u8 header[2 * ETH_ALEN] = {};
	const struct known *known;
	void *own = 0;

	if (!slave->device || slave->link == LINK_NO_NEIGHBOURS || slave->link == LINK_OTHER)
		return false;
	if (slave->link != LINK_BARE) {
		read_kernel(&own, net_device, slave->device, dev_addr);
		bpf_probe_read_kernel(header + ETH_ALEN, ETH_ALEN, own);
		__builtin_memcpy(header, header + ETH_ALEN, ETH_ALEN);
	}
	if (slave->link == LINK_ETHERNET) {
		known = bpf_map_lookup_elem(&neighbours, hop);
		if (!known || known->asked || !known->connected)
			return false;
		__builtin_memcpy(header, known->lladdr, ETH_ALEN);
	}
	__builtin_memcpy(last->header, header, sizeof(header));
	if (slave->link != LINK_ETHERNET)
		last->any = 3;
	else
		last->any = has_via(slave, view) << view->ipv6;
	last->destination = view->destination;
	last->next_hop = hop->address;
	last->ifindex = slave->ifindex;
	last->epoch = epoch;
	return true;
}

static __always_inline bool hop_of(struct neighbour *neighbour, struct hop *hop)
{
	struct net_device *device = neighbour->dev;
	__u8 *key = (void *)neighbour + bpf_core_field_offset(neighbour->primary_key);
	__be32 ipv4;

	if (device->nd_net.net != home)
		return false;
	hop->ifindex = device->ifindex;
	hop->padding = 0;
	if (neighbour->tbl->family == AF_INET6)
		return !bpf_probe_read_kernel(&hop->address, sizeof(hop->address), key);
	if (neighbour->tbl->family != AF_INET || bpf_probe_read_kernel(&ipv4, sizeof(ipv4), key))
		return false;
	hop->address = mapped(ipv4);
	return true;
}

static __always_inline int learn(struct neighbour *neighbour)
{
	struct known known = {};
	struct hop hop;

	if (!(neighbour->nud_state & (NUD_VALID | NUD_FAILED)) || !hop_of(neighbour, &hop))
		return 0;
	if (neighbour->nud_state & NUD_FAILED)
		known.asked = bpf_ktime_get_ns();
	known.connected = !!(neighbour->nud_state & NUD_CONNECTED);
	bpf_probe_read_kernel(known.lladdr, sizeof(known.lladdr), neighbour->ha);
	bpf_map_update_elem(&neighbours, &hop, &known, BPF_ANY);
	note_change();
	return 0;
}

SEC("tp_btf/neigh_update_done")
int BPF_PROG(neighbour_updated, struct neighbour *neighbour)
{
	return learn(neighbour);
}

SEC("tp_btf/neigh_timer_handler")
int BPF_PROG(neighbour_timed, struct neighbour *neighbour)
{
	return learn(neighbour);
}

SEC("tp_btf/neigh_cleanup_and_release")
int BPF_PROG(neighbour_gone, struct neighbour *neighbour)
{
	struct hop hop;

	if (!hop_of(neighbour, &hop))
		return 0;
	bpf_map_delete_elem(&neighbours, &hop);
	note_change();
	return 0;
}

#endif
