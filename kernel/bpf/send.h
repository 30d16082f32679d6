/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Handing a packet to the slave that was chosen for it. */
#ifndef IPEQL_SEND_H
#define IPEQL_SEND_H

#include "bundle.h"
#include "neighbour.h"
#include "packet.h"
#include "slave.h"

static __always_inline void count(struct lane *lane, const struct slave *slave, __u32 packets,
				  __u32 bytes)
{
	struct counters *counter = &lane->counters[IPEQL_AT(slave->counters)];

	counter->picks++;
	counter->packets += packets;
	counter->bytes += bytes;
}

static __always_inline void count_placed(struct lane *lane, const struct slave *slave)
{
	count(lane, slave, lane->packet.segments, ipeql_bytes(&lane->packet));
}

/* Send with the link header that is remembered. */
static __always_inline int send(struct __sk_buff *skb, const struct last_hop *last)
{
	__u32 *data = (void *)(long)skb->data;

	if (data + 3 > (__u32 *)(long)skb->data_end)
		return TC_ACT_SHOT;
	data[0] = last->header[0];
	data[1] = last->header[1];
	data[2] = last->header[2];
	return bpf_redirect(last->ifindex, 0);
}

#define FOR_ITSELF (1U << 31) /* of cb[0], an ifindex: the packet is there only to ask */

/* Have `resolve` send the packet to a next hop. */
static __always_inline void note_hop(struct __sk_buff *skb, const struct hop *hop, __u32 how)
{
	skb->cb[0] = hop->ifindex | how;
	skb->cb[1] = hop->address.word[0];
	skb->cb[2] = hop->address.word[1];
	skb->cb[3] = hop->address.word[2];
	skb->cb[4] = hop->address.word[3];
}

/*
 * Make of a packet one that its receiver ignores: an echo reply that nobody has asked for, or IPv6
 * without a next header (RFC 8200, section 4.7). What follows is padding.
 */
static __always_inline int make_ignored(struct __sk_buff *skb)
{
	struct {
		struct iphdr ip;
		__u8 type, code;
		__u16 sum;
		__u32 number;
	} reply = {};
	const __u8 nothing[] = { 0, 0, IPPROTO_NONE }; /* payload_len and nexthdr */
	__s64 sum;

	if (skb->protocol != bpf_htons(ETH_P_IP))
		return bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, payload_len),
					   nothing, sizeof(nothing), 0);
	if (bpf_skb_load_bytes(skb, ETH_HLEN, &reply.ip, sizeof(reply.ip)))
		return -1;
	reply.ip.version = 4;
	reply.ip.ihl = 5;
	reply.ip.tot_len = bpf_htons(sizeof(reply));
	reply.ip.frag_off = 0;
	reply.ip.protocol = IPPROTO_ICMP;
	reply.ip.check = 0;
	sum = bpf_csum_diff(0, 0, (__be32 *)&reply.ip, sizeof(reply.ip), 0);
	sum = (sum & 0xffff) + (sum >> 16);
	reply.ip.check = ~((sum & 0xffff) + (sum >> 16));
	reply.sum = 0xffff;
	return bpf_skb_store_bytes(skb, ETH_HLEN, &reply, sizeof(reply), 0);
}

/* Ask for a slave's next hop if nothing is known of it. Global, so that it is verified once. */
__noinline int ask_one(struct __sk_buff *skb, struct view *view, __u32 index)
{
	const struct table *table = &bundle.table[active_table()];
	const struct slave *slave = &table->slave[IPEQL_AT(index)];
	__u64 now = bpf_ktime_get_ns();
	struct hop hop;

	if (!view || slave->link != LINK_ETHERNET || reach_of(slave, view, now) != UNKNOWN)
		return 0;
	hop = next_hop(slave, view);
	ask(&hop, now);
	note_hop(skb, &hop, FOR_ITSELF);
	bpf_clone_redirect(skb, table->device, BPF_F_INGRESS);
	return 1;
}

/*
 * Ask for the next hops of all slaves but `chosen` that nothing is known of. Only a packet makes
 * the kernel ask; one that a flow has sent would wait meanwhile, and those after it overtake.
 */
__noinline int ask_others(struct __sk_buff *skb, struct view *view, __u32 chosen)
{
	if (!view || skb->gso_segs > 1)
		return 0;
	view->running &= ~(1ULL << (chosen & 63));
	for (__u32 i = 0; i < IPEQL_MAX_SLAVES; i++)
		if (view->running >> i & 1)
			ask_one(skb, view, i);
	return 1;
}

/*
 * Send to a next hop that is not the last one, or that the kernel's neighbour code has to find. Not
 * inline: its variables are not on the stack while a method chooses.
 */
static __noinline int send_to(struct __sk_buff *skb, struct lane *lane, const struct view *view,
			      __u32 index, enum reach reach)
{
	const struct slave *slave = &bundle.table[active_table()].slave[IPEQL_AT(index)];
	struct last_hop *last = &lane->last_hop[IPEQL_AT(index)];
	struct hop hop = next_hop(slave, view);

	count_placed(lane, slave);
	if (is_to_many(view)) {
		/* bpf_redirect_neigh() drops frames to a group; it writes the address anew. */
		bpf_skb_store_bytes(skb, 0, (__u8[ETH_ALEN]){ 0 }, ETH_ALEN, 0);
		return redirect(&hop);
	}
	if (reach == RESOLVED)
		return find_header(slave, &hop, view, last) ? send(skb, last) : redirect(&hop);
	if (reach == UNKNOWN)
		ask(&hop, lane->packet.now);
	note_hop(skb, &hop, 0);
	return bpf_redirect(skb->ifindex, BPF_F_INGRESS);
}

/* Say whether an IPv4 packet goes where the last one to the slave went, by its destination alone. */
static __always_inline bool is_last_hop(const struct slave *slave, const struct last_hop *last,
					__be32 destination)
{
	struct address address = mapped(destination);

	return last->epoch == epoch && last->ifindex == slave->ifindex &&
	       ((last->any & 1) || is_same(&last->destination, &address));
}

/* Say whether the packet goes where the last one to the slave went. */
static __always_inline bool goes_as_before(struct __sk_buff *skb, const struct table *table,
					   const struct slave *slave,
					   const struct last_hop *last, struct view *view)
{
	if (last->epoch != epoch || last->ifindex != slave->ifindex)
		return false;
	if (!table->watched && !is_at_work(slave))
		return false;
	if (last->any >> view->ipv6 & 1)
		return true;
	if (!view->routed) {
		if (is_same(&last->destination, &view->destination))
			return true;
		find_gateway(skb, view);
	}
	return !is_to_many(view) && is_same(&last->next_hop, &view->gateway);
}

/*
 * Send a copy of a packet to slave `index`. Global, so that it is verified once. The packet's own
 * header is written anew after this.
 */
__noinline int send_copy(struct __sk_buff *skb, struct view *view, __u32 index)
{
	__u32 zero = 0;
	struct lane *lane = bpf_map_lookup_elem(&lanes, &zero);
	const struct table *table = &bundle.table[active_table()];
	const struct slave *slave = &table->slave[IPEQL_AT(index)];
	struct last_hop *last;
	enum reach reach;
	struct hop hop;

	if (!lane || !view)
		return 0;
	last = &lane->last_hop[IPEQL_AT(index)];
	if (!goes_as_before(skb, table, slave, last, view)) {
		if (!view->routed)
			find_gateway(skb, view);
		reach = reach_of(slave, view, lane->packet.now);
		hop = next_hop(slave, view);
		if (reach != RESOLVED || !find_header(slave, &hop, view, last)) {
			count_placed(lane, slave);
			if (reach == UNKNOWN)
				ask(&hop, lane->packet.now);
			note_hop(skb, &hop, 0);
			return bpf_clone_redirect(skb, table->device, BPF_F_INGRESS);
		}
	}
	count_placed(lane, slave);
	return bpf_skb_store_bytes(skb, 0, last->header, sizeof(last->header), 0) ||
	       bpf_clone_redirect(skb, last->ifindex, 0);
}

/* Send a copy to each slave of a set. */
static __always_inline void send_copies(struct __sk_buff *skb, struct view *view, __u32 slaves)
{
	for (__u32 i = 0; i < IPEQL_MAX_SLAVES; i++)
		if (slaves >> i & 1)
			send_copy(skb, view, i);
	skb->cb[0] = 0;
}

#endif
