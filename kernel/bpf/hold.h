/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What bw_lag_eq holds back. The packets wait in a queueing discipline of the kernel, fq, on a
 * device that is there for nothing else, the holder. fq hands each on when its tstamp is due; it
 * leaves by the holder's lower device, where `release` sends it to its slave.
 *
 * With a packet go its time in tstamp; in hash, which fq takes for its flow, the slave, so that the
 * packets of one slave stay in order; in cb the hash and the priority that it has itself. fq uses
 * the first 9 bytes of cb.
 */
#ifndef IPEQL_HOLD_H
#define IPEQL_HOLD_H

#include "bundle.h"
#include "neighbour.h"
#include "packet.h"
#include "send.h"
#include "slave.h"

/*
 * How early a packet is handed over that queues behind another of its slave anyway. It leaves no
 * earlier for that, but a timer that comes late, by less than this, does not leave the line idle.
 */
#define LEAD_NS 1000000
#define HELD_SHIFT 26       /* 64 MiB are held for one slave at most */
#define FORGOTTEN_NS 1000000000 /* so late comes nothing that has not been lost in the holder */
#define FLOW_SHIFT 5        /* of a slave's ifindex in hash; below is its index in the table */

/*
 * Find when a packet is to leave that slave i gets; 0: at once. Under the lock.
 */
static __always_inline __u64 due_at(const struct ipeql_parameters *table, struct held *held,
				    __u32 i, const struct ipeql_packet *packet)
{
	__u64 release = packet->release, due = release;

	if (release <= held->line_free)
		due -= LEAD_NS;
	held->line_free = release + ipeql_tx(table, i, packet);
	if ((__s64)(packet->now - held->due) > FORGOTTEN_NS)
		held->taken = held->put;
	if (due < held->due)
		due = held->due;
	if (due <= packet->now && held->put == held->taken)
		return 0;
	held->due = due;
	held->put++;
	return due;
}

/* bw_lag_eq chooses, and has the packet leave at lane->due. */
__noinline __u32 choose_held(struct lane *lane, __u32 set)
{
	__u32 zero = 0, index, active = active_table();
	struct serialised *account = bpf_map_lookup_elem(&serialised, &zero);
	const struct table *table = &bundle.table[active];
	struct ipeql_packet *packet;

	if (!account || !lane)
		return IPEQL_NO_SLAVE;
	packet = &lane->packet;
	packet->release = packet->now;
	bpf_spin_lock(&account->lock);
	index = ipeql_equalised(&table->parameters, &bundle.state[state_of(active)], set, packet);
	if (index < IPEQL_MAX_SLAVES && !injected) {
		const struct ipeql_path *path = &table->parameters.path[IPEQL_AT(index)];
		__u32 place = IPEQL_AT(table->slave[IPEQL_AT(index)].counters);

		if (packet->release - packet->now >
		    path->nspb << (HELD_SHIFT - IPEQL_NSPB_SHIFT))
			index = IPEQL_QUEUE_FULL;
		else if (!packet->light &&
			 !(table->parameters.ruled && ipeql_copies(&table->parameters, packet)))
			lane->due = due_at(&table->parameters, &account->held[place], index,
					   packet);
	}
	bpf_spin_unlock(&account->lock);
	return index;
}

/* A packet has come out of the holder. */
static __always_inline void note_taken(const struct slave *slave)
{
	__u32 zero = 0;
	struct serialised *account = bpf_map_lookup_elem(&serialised, &zero);

	if (account)
		__sync_fetch_and_add(&account->held[IPEQL_AT(slave->counters)].taken, 1);
}

/* Hold a packet for slave `index` until lane->due. Others may be placed before this returns. */
static __noinline int hold(struct __sk_buff *skb, struct lane *lane, __u32 index)
{
	const struct table *table = &bundle.table[active_table()];
	const struct slave *slave = &table->slave[IPEQL_AT(index)];

	skb->cb[3] = skb->hash;
	skb->cb[4] = skb->priority;
	skb->priority = 0; /* the bands and the special flow of fq would change the order */
	bpf_set_hash(skb, slave->ifindex << FLOW_SHIFT | IPEQL_AT(index));
	bpf_skb_set_tstamp(skb, lane->due, BPF_SKB_TSTAMP_DELIVERY_MONO);
	if (!skb->sk)
		return bpf_redirect(table->holder, 0);
	/*
	 * A clone has no socket: TCP would wait for what it has sent to leave, and nothing leaves
	 * before more is sent. The packet itself ends here, as one that was sent.
	 */
	if (bpf_clone_redirect(skb, table->holder, 0)) {
		note_taken(slave);
		lane->counters[IPEQL_MAX_SLAVES].full++;
		return TC_ACT_SHOT;
	}
	return TC_ACT_STOLEN;
}

/* Return which slave of the table in force an interface is. */
__noinline __u32 find_slave(__u32 ifindex)
{
	const struct table *table = &bundle.table[active_table()];

	for (__u32 i = 0; i < IPEQL_MAX_SLAVES && i < table->parameters.count; i++)
		if (table->slave[i].ifindex == ifindex)
			return i;
	return IPEQL_NO_SLAVE;
}

/* A packet is due. Where its slave cannot be used any more, it is placed anew. */
SEC("tc")
int release(struct __sk_buff *skb)
{
	__u32 zero = 0, index = IPEQL_AT(skb->hash), ifindex = skb->hash >> FLOW_SHIFT;
	__u32 hash = skb->cb[3];
	struct lane *lane = bpf_map_lookup_elem(&lanes, &zero);
	const struct table *table = &bundle.table[active_table()];
	const struct slave *slave;
	struct last_hop *last;
	enum reach reach;
	struct view view;

	if (!skb->tstamp_type)
		return TC_ACT_SHOT; /* the kernel's own, of the holder itself */
	skb->priority = skb->cb[4];
	if (hash)
		bpf_set_hash(skb, hash);
	else
		bpf_set_hash_invalid(skb);
	if (table->slave[index].ifindex != ifindex)
		index = find_slave(ifindex);
	if (!lane || look_at(skb, &lane->packet, &view))
		return TC_ACT_SHOT;
	if (index >= IPEQL_MAX_SLAVES)
		return bpf_redirect(table->device, 0);
	slave = &table->slave[IPEQL_AT(index)];
	last = &lane->last_hop[IPEQL_AT(index)];
	note_taken(slave);
	view.routed = 0;
	view.running = table->usable;
	if (routes_vary || view.ipv6)
		find_gateway(skb, &view);
	if (!(table->usable >> IPEQL_AT(index) & 1))
		return bpf_redirect(table->device, 0);
	if (goes_as_before(skb, table, slave, last, &view)) {
		count_placed(lane, slave);
		return send(skb, last);
	}
	if (!is_at_work(slave))
		return bpf_redirect(table->device, 0);
	if (!view.routed)
		find_gateway(skb, &view);
	lane->packet.now = bpf_ktime_get_ns();
	reach = reach_of(slave, &view, lane->packet.now);
	if (reach == UNKNOWN)
		ask_others(skb, &view, index);
	return send_to(skb, lane, &view, index, reach);
}

#endif
