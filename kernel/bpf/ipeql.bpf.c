/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The dataplane of one bundle. `stripe` runs at the egress of the device that the bundle's stands on
 * (or of its own), chooses a slave and redirects the packet there; packets whose next hop is not
 * known to be resolved go through `resolve` at that device's ingress; `neighbour_*` follow the kernel's neighbour tables.
 *
 * Packets that wait for a neighbour are sent by the neighbour code along the route they carry
 * (net/core/neighbour.c, neigh_update), which is the bundle's, not the slave's: they would be lost.
 * A packet that passes an ingress carries no route any more, so it may wait.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/types.h>
#include <stdbool.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "bundle.h"
#include "kernel.h"
#include "packet.h"
#include "slave.h"
#include "neighbour.h"
#include "queue.h"
#include "rule.h"
#include "send.h"
#include "hold.h"
#include "change.h"

char LICENSE[] SEC("license") = "GPL";

/*
 * Return the set of slaves that a packet can take, of those that the table calls usable. Global, so
 * that the verifier looks at it once.
 */
__noinline __u32 survey(struct view *view, __u64 now)
{
	__u64 epoch = current_epoch();
	const struct table *table = &bundle.table[active_table()];

	if (!view)
		return 0;
	view->running = view->reachable = 0;
	for (__u32 i = 0; i < IPEQL_MAX_SLAVES && i < table->parameters.count; i++) {
		const struct slave *slave = &table->slave[i];

		if (!(table->usable >> i & 1) || !is_at_work(slave))
			continue;
		view->running |= 1U << i;
		if (reach_of(slave, view, now) != WAITING)
			view->reachable |= 1U << i;
	}
	if (!view->reachable)
		view->reachable = view->running;
	bundle.settled = view->reachable == table->usable ? epoch : 0;
	bundle.quick = table->watched && !routes_vary ? bundle.settled : 0;
	return view->reachable;
}

/* bw_poll has one account for all CPUs. */
__noinline __u32 choose_polled(struct ipeql_packet *packet, __u32 set)
{
	__u32 zero = 0, index, active = active_table();
	struct serialised *account = bpf_map_lookup_elem(&serialised, &zero);

	if (!account || !packet)
		return IPEQL_NO_SLAVE;
	bpf_spin_lock(&account->lock);
	index = ipeql_polled(&bundle.table[active].parameters, &account->state[state_of(active)], set,
			     packet);
	bpf_spin_unlock(&account->lock);
	return index;
}

__noinline __u32 choose_unlocked(struct ipeql_state *state, struct ipeql_packet *packet, __u32 set)
{
	if (!state || !packet)
		return IPEQL_NO_SLAVE;
	return ipeql_pick_unlocked(&bundle.table[active_table()].parameters, state, set, packet);
}

/* Let the method choose one of the slaves that it may take, lane->packet.among. */
static __always_inline __u32 choose_by_method(struct lane *lane, __u32 active, __u32 set)
{
	const struct ipeql_parameters *table = &bundle.table[active].parameters;

	if (table->method <= IPEQL_BW_LOAD)
		return choose_unlocked(&lane->state[state_of(active)], &lane->packet, set);
	if (table->method == IPEQL_BW_POLL)
		return choose_polled(&lane->packet, set);
	if (table->method == IPEQL_BW_LAG_EQ)
		return choose_held(lane, set);
	if (table->method == IPEQL_AUTO_BW && !injected)
		measure(&lane->packet, set);
	return choose_unlocked(&bundle.state[state_of(active)], &lane->packet, set);
}

/* Choose one of the slaves of `set` by any method, where the table is ruled. */
__noinline __u32 choose_ruled(struct __sk_buff *skb, struct lane *lane, __u32 set)
{
	__u32 active = active_table(), index;
	const struct ipeql_parameters *table = &bundle.table[active].parameters;
	struct ipeql_state *queues = &bundle.state[state_of(active)];
	__u64 *bucket;

	if (!lane)
		return IPEQL_NO_SLAVE;
	bucket = table->flows ? bucket_of(skb) : 0;
	set = ipeql_rule(table, queues, bucket, set, &lane->packet);
	index = choose_by_method(lane, active, set);
	ipeql_note(table, queues, bucket, index, &lane->packet);
	return index;
}

/* Choose one of the slaves of `set` and account for it. */
static __always_inline __u32 choose(struct __sk_buff *skb, struct lane *lane, __u32 active,
				    __u32 set)
{
	const struct ipeql_parameters *table = &bundle.table[active].parameters;

	if (table->ruled)
		return choose_ruled(skb, lane, set);
	if (table->method == IPEQL_ROUND_ROBIN)
		return set ? ipeql_round_robin(table, &lane->state[state_of(active)], set) : IPEQL_NO_SLAVE;
	return choose_by_method(lane, active, ipeql_allow(table, set, &lane->packet));
}

/* Say whether a decision depends on the time. */
static __always_inline bool looks_at_the_clock(const struct ipeql_parameters *table)
{
	return table->method >= IPEQL_BW_POLL || table->ruled;
}

#define UNCHOSEN 0xffffffffU /* no method has been asked yet */

/* Say why a packet reaches no slave. */
static __noinline int drop(struct lane *lane, __u32 index)
{
	struct counters *counters = &lane->counters[IPEQL_MAX_SLAVES];

	if (index == IPEQL_QUEUE_FULL)
		counters->full += lane->packet.segments;
	else
		counters->dropped += lane->packet.segments;
	return TC_ACT_SHOT;
}

/*
 * Send a packet that the fast way does not serve: to a group, while a slave cannot be used, or to a
 * next hop that is not the last one or not resolved. `index`: the slave chosen for it already.
 */
static __noinline int send_slowly(struct __sk_buff *skb, struct lane *lane, struct view *view,
				  __u32 index)
{
	__u32 active = active_table(), set;
	const struct table *table = &bundle.table[active];
	__u64 now = bpf_ktime_get_ns();
	const struct slave *slave;
	enum reach reach = UNKNOWN;

	if (!view->routed)
		find_gateway(skb, view);
	if (index < IPEQL_MAX_SLAVES) {
		slave = &table->slave[IPEQL_AT(index)];
		reach = reach_of(slave, view, now);
		if (view->group || reach == WAITING || !is_at_work(slave))
			index = IPEQL_NO_SLAVE;
	}
	if (index >= IPEQL_MAX_SLAVES) {
		set = survey(view, now);
		lane->packet.expected = view->running;
		if (!set || !view->group)
			index = choose(skb, lane, active, set);
		else
			index = ipeql_lowest(ipeql_candidates(&table->parameters, set));
		if (index >= IPEQL_MAX_SLAVES)
			return drop(lane, index);
		slave = &table->slave[IPEQL_AT(index)];
		reach = reach_of(slave, view, now);
	}
	slave = &table->slave[IPEQL_AT(index)];
	if (table->holder && !is_to_many(view))
		ask_others(skb, view, lane->due ? IPEQL_NO_SLAVE : index);
	if (lane->packet.also)
		send_copies(skb, view, lane->packet.also);
	if (lane->due)
		return hold(skb, lane, index);
	lane->packet.now = now;
	return send_to(skb, lane, view, index, reach);
}

/* Send any packet; `index`: as chosen for it already, or UNCHOSEN. */
static __noinline int stripe_any(struct __sk_buff *skb, struct lane *lane, __u32 index)
{
	__u32 active = active_table();
	const struct table *table = &bundle.table[active];
	const struct slave *slave;
	struct last_hop *last;
	struct view *view = &lane->view;

	if (look_at(skb, &lane->packet, view))
		return TC_ACT_SHOT;
	lane->packet.expected = lane->packet.light = lane->packet.also = 0;
	lane->due = 0;
	if (table->parameters.method == IPEQL_BW_LAG_EQ && may_be_light(&lane->packet, view))
		lane->packet.light = is_light(skb);
	if (injected) {
		inject(skb, &lane->packet);
		skb->cb[0] = choose(skb, lane, active, skb->cb[0] & table->usable);
		skb->cb[1] = lane->packet.also;
		skb->tstamp = lane->packet.release;
		return TC_ACT_OK;
	}
	if (looks_at_the_clock(&table->parameters))
		lane->packet.now = bpf_ktime_get_ns();
	view->routed = 0;
	view->running = table->usable;
	if (routes_vary || view->ipv6)
		find_gateway(skb, view);
	if (index == UNCHOSEN) {
		if (bundle.settled != epoch || view->group)
			return send_slowly(skb, lane, view, IPEQL_NO_SLAVE);
		index = choose(skb, lane, active, table->usable);
	}
	if (lane->due)
		return hold(skb, lane, index);
	if (index == IPEQL_QUEUE_FULL)
		return drop(lane, index);
	slave = &table->slave[IPEQL_AT(index)];
	last = &lane->last_hop[IPEQL_AT(index)];
	if (index >= IPEQL_MAX_SLAVES || !goes_as_before(skb, table, slave, last, view))
		return send_slowly(skb, lane, view, index);
	if (lane->packet.also)
		send_copies(skb, view, lane->packet.also);
	count_placed(lane, slave);
	return send(skb, last);
}

/*
 * Choose by any method but round_robin, where the table is not ruled, for an IPv4 packet of one
 * segment; UNCHOSEN: it may be held.
 */
static __noinline __u32 choose_otherwise(struct __sk_buff *skb, struct lane *lane)
{
	__u32 active = active_table();
	const struct table *table = &bundle.table[active];

	if (table->parameters.method == IPEQL_BW_LAG_EQ)
		return UNCHOSEN;
	lane->packet.length = skb->len - ETH_HLEN;
	lane->packet.segments = 1;
	lane->packet.expected = lane->packet.light = 0;
	if (table->parameters.method >= IPEQL_BW_POLL)
		lane->packet.now = bpf_ktime_get_ns();
	return choose_by_method(lane, active,
				ipeql_allow(&table->parameters, table->usable, &lane->packet));
}

/* Have a pointer in a register: clang would compute it anew for each use. */
#define KEEP(pointer) asm("" : "+r"(pointer))

/* Most packets are sent here: of IPv4, of one segment, to where the last one to the slave went. */
SEC("tc")
int stripe(struct __sk_buff *skb)
{
	__u32 zero = 0, index, active = active_table();
	struct lane *lane = bpf_map_lookup_elem(&lanes, &zero);
	const struct iphdr *ip = (void *)(long)skb->data + ETH_HLEN;
	const struct table *table = &bundle.table[active];
	const struct slave *slave;
	struct last_hop *last;

	if (!lane)
		return TC_ACT_SHOT;
	if (bundle.quick != epoch || skb->protocol != bpf_htons(ETH_P_IP) ||
	    (void *)(ip + 1) > (void *)(long)skb->data_end || is_group(ip->daddr) ||
	    skb->gso_segs > 1)
		return stripe_any(skb, lane, UNCHOSEN);
	KEEP(table);
	if (table->parameters.ruled)
		return stripe_any(skb, lane, UNCHOSEN);
	if (table->parameters.method != IPEQL_ROUND_ROBIN)
		index = choose_otherwise(skb, lane);
	else if (table->usable)
		index = ipeql_round_robin(&table->parameters, &lane->state[state_of(active)],
					  table->usable);
	else
		index = IPEQL_NO_SLAVE;
	slave = &table->slave[IPEQL_AT(index)];
	last = &lane->last_hop[IPEQL_AT(index)];
	KEEP(last);
	if (index >= IPEQL_MAX_SLAVES || !is_last_hop(slave, last, ip->daddr))
		return stripe_any(skb, lane, index);
	count(lane, slave, 1, skb->len - ETH_HLEN);
	return send(skb, last);
}

SEC("tc")
int resolve(struct __sk_buff *skb)
{
	struct hop hop = {
		.ifindex = skb->cb[0] & ~FOR_ITSELF,
		.address.word = { skb->cb[1], skb->cb[2], skb->cb[3], skb->cb[4] },
	};

	/* Received packets come this way too; the program that sends them here has cleared cb. */
	if (!hop.ifindex)
		return TC_ACT_OK;
	if ((skb->cb[0] & FOR_ITSELF) && make_ignored(skb))
		return TC_ACT_SHOT;
	return redirect(&hop);
}

/* ---- run by the control plane: so are those of change.h ---- */

struct location {
	__u32 ifindex;
	__u32 padding;
	__u64 device; /* out: its struct net_device, 0: there is none */
};

/* Find an interface in the caller's network namespace, which becomes the bundle's. */
SEC("syscall")
int locate(struct location *location)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct hlist_head *bucket;
	struct hlist_node *node = 0;

	home = BPF_CORE_READ(task, nsproxy, net_ns);
	bucket = BPF_CORE_READ(home, dev_index_head) + location->ifindex % NETDEV_HASHENTRIES;
	bpf_probe_read_kernel(&node, sizeof(node), bucket);
	location->device = 0;
	for (int i = 0; i < 256 && node; i++) {
		struct net_device *device =
			(void *)node - bpf_core_field_offset(struct net_device, index_hlist);

		if (BPF_CORE_READ(device, ifindex) == (int)location->ifindex) {
			location->device = (__u64)device;
			return 0;
		}
		node = BPF_CORE_READ(node, next);
	}
	return 0;
}
