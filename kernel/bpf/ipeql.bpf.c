/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The dataplane of one bundle. `stripe` runs at the egress of the bundle's device, chooses a slave
 * and redirects the packet there; packets whose next hop is not known to be resolved go through
 * `resolve` at the device's ingress; `neighbour_*` follow the kernel's neighbour tables.
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

char LICENSE[] SEC("license") = "GPL";

/*
 * Set for the differential test alone: the clock is the packet's tstamp, the set to choose from
 * stands in cb, as does the choice afterwards, and the slaves' queues, 4 bits each.
 */
const volatile bool injected = false;

static __always_inline void inject(const struct __sk_buff *skb, struct ipeql_packet *packet)
{
	__u32 queues[] = { skb->cb[1], skb->cb[2], skb->cb[3], skb->cb[4] };

	packet->now = skb->tstamp;
	for (__u32 i = 0; i < IPEQL_MAX_SLAVES; i++)
		packet->queued[i] = queues[i / 8] >> i % 8 * 4 & 15;
}

/*
 * Return the set of slaves that a packet can take, of those that the table calls usable. Global, so
 * that the verifier looks at it once.
 */
__noinline __u32 survey(struct view *view, __u64 now)
{
	__u64 epoch = current_epoch();
	const struct table *table = &bundle.table[bundle.active & 1];

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
	return view->reachable;
}

/* bw_poll has one account for all CPUs. */
__noinline __u32 choose_polled(struct ipeql_packet *packet, __u32 set)
{
	__u32 zero = 0, index, active = bundle.active & 1;
	struct polled *account = bpf_map_lookup_elem(&polled, &zero);

	if (!account || !packet)
		return IPEQL_NO_SLAVE;
	bpf_spin_lock(&account->lock);
	index = ipeql_weighted(&bundle.table[active].parameters, &account->state[active], set,
			       packet);
	bpf_spin_unlock(&account->lock);
	return index;
}

__noinline __u32 choose_unlocked(struct ipeql_state *state, struct ipeql_packet *packet, __u32 set)
{
	if (!state || !packet)
		return IPEQL_NO_SLAVE;
	return ipeql_pick(&bundle.table[bundle.active & 1].parameters, state, set, packet);
}

/* Choose one of the slaves of `set` and account for it. */
static __always_inline __u32 choose(struct lane *lane, __u32 active, __u32 set)
{
	const struct ipeql_parameters *table = &bundle.table[active].parameters;

	if (table->method == IPEQL_ROUND_ROBIN)
		return set ? ipeql_round_robin(table, &lane->state[active], set) : IPEQL_NO_SLAVE;
	if (table->method == IPEQL_BW_LOAD)
		return choose_unlocked(&lane->state[active], &lane->packet, set);
	if (table->method == IPEQL_BW_POLL)
		return choose_polled(&lane->packet, set);
	if (table->method == IPEQL_AUTO_BW && !injected)
		measure(&lane->packet, set);
	return choose_unlocked(&bundle.state[active], &lane->packet, set);
}

static __always_inline void count(struct lane *lane, const struct slave *slave)
{
	struct counters *counter = &lane->counters[IPEQL_AT(slave->counters)];

	counter->picks++;
	counter->packets += lane->packet.segments;
	counter->bytes += ipeql_bytes(&lane->packet);
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

/*
 * Send a packet that the fast way does not serve: to a group, while a slave cannot be used, or to a
 * next hop that is not the last one or not resolved. `index`: the slave chosen for it already.
 */
static __noinline int send_slowly(struct __sk_buff *skb, struct lane *lane, struct view *view,
				  __u32 index)
{
	__u32 active = bundle.active & 1, set;
	const struct table *table = &bundle.table[active];
	__u64 now = bpf_ktime_get_ns();
	const struct slave *slave;
	enum reach reach = UNKNOWN;
	struct hop hop;

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
		if (!set || !view->group)
			index = choose(lane, active, set);
		else
			index = ipeql_lowest(set);
		if (index >= IPEQL_MAX_SLAVES) {
			lane->counters[IPEQL_MAX_SLAVES].dropped += lane->packet.segments;
			return TC_ACT_SHOT;
		}
		slave = &table->slave[IPEQL_AT(index)];
		reach = reach_of(slave, view, now);
	}
	slave = &table->slave[IPEQL_AT(index)];
	count(lane, slave);
	hop = next_hop(slave, view);
	if (is_to_many(view)) {
		/* bpf_redirect_neigh() drops frames to a group; it writes the address anew. */
		bpf_skb_store_bytes(skb, 0, (__u8[ETH_ALEN]){ 0 }, ETH_ALEN, 0);
		return redirect(&hop);
	}
	if (reach == RESOLVED) {
		if (find_header(slave, &hop, view, &lane->last_hop[IPEQL_AT(index)]))
			return send(skb, &lane->last_hop[IPEQL_AT(index)]);
		return redirect(&hop);
	}
	if (reach == UNKNOWN)
		ask(&hop, now);
	skb->cb[0] = hop.ifindex;
	skb->cb[1] = hop.address.word[0];
	skb->cb[2] = hop.address.word[1];
	skb->cb[3] = hop.address.word[2];
	skb->cb[4] = hop.address.word[3];
	return bpf_redirect(skb->ifindex, BPF_F_INGRESS);
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

SEC("tc")
int stripe(struct __sk_buff *skb)
{
	__u32 zero = 0, index, active = bundle.active & 1;
	struct lane *lane = bpf_map_lookup_elem(&lanes, &zero);
	const struct table *table = &bundle.table[active];
	const struct slave *slave;
	struct last_hop *last;
	struct view view;

	if (!lane || look_at(skb, &lane->packet, &view))
		return TC_ACT_SHOT;
	if (injected) {
		inject(skb, &lane->packet);
		skb->cb[0] = choose(lane, active, skb->cb[0] & table->usable);
		return TC_ACT_OK;
	}
	if (table->parameters.method >= IPEQL_BW_POLL)
		lane->packet.now = bpf_ktime_get_ns();
	view.routed = 0;
	if (routes_vary || view.ipv6)
		find_gateway(skb, &view);
	if (bundle.settled != epoch || view.group)
		return send_slowly(skb, lane, &view, IPEQL_NO_SLAVE);
	index = choose(lane, active, table->usable);
	slave = &table->slave[IPEQL_AT(index)];
	last = &lane->last_hop[IPEQL_AT(index)];
	if (index >= IPEQL_MAX_SLAVES || !goes_as_before(skb, table, slave, last, &view))
		return send_slowly(skb, lane, &view, index);
	count(lane, slave);
	return send(skb, last);
}

SEC("tc")
int resolve(struct __sk_buff *skb)
{
	struct hop hop = {
		.ifindex = skb->cb[0],
		.address.word = { skb->cb[1], skb->cb[2], skb->cb[3], skb->cb[4] },
	};

	return redirect(&hop);
}

/* ---- run by the control plane ---- */

/* Prepare a CPU's lane for the incoming table. */
__noinline int prepare(__u32 cpu)
{
	__u32 zero = 0, now = bundle.active & 1, next = now ^ 1;
	struct incoming *wanted = bpf_map_lookup_elem(&incoming, &zero);
	struct lane *lane = bpf_map_lookup_percpu_elem(&lanes, &zero, cpu);

	if (!wanted || !lane)
		return 0;
	ipeql_inherit(&wanted->table.parameters, &lane->state[next],
		      &bundle.table[now].parameters, &lane->state[now], wanted->origin);
	for (__u32 i = 0; i < IPEQL_MAX_SLAVES; i++)
		if (wanted->fresh >> i & 1)
			lane->counters[i] = (struct counters){};
	return 0;
}

static long prepare_one(__u32 cpu, void *context)
{
	prepare(cpu);
	return 0;
}

/* Put `incoming` into force in one step. */
SEC("tc")
int configure(struct __sk_buff *skb)
{
	__u32 zero = 0, now = bundle.active & 1, next = now ^ 1;
	struct incoming *wanted = bpf_map_lookup_elem(&incoming, &zero);
	struct polled *account = bpf_map_lookup_elem(&polled, &zero);

	if (!wanted || !account)
		return TC_ACT_SHOT;
	bpf_loop(wanted->cpus, prepare_one, 0, 0);
	/* A plain copy would be a call of memcpy(). */
	bpf_probe_read_kernel(&bundle.table[next], sizeof(wanted->table), &wanted->table);
	ipeql_inherit(&wanted->table.parameters, &bundle.state[next],
		      &bundle.table[now].parameters, &bundle.state[now], wanted->origin);
	ipeql_begin(&account->state[next]);
	routes_vary = true;
	if (wanted->table.watched)
		read_kernel(&routes_vary, net, home, ipv4.fib_has_custom_rules);
	__sync_lock_test_and_set(&bundle.active, next);
	note_change();
	return TC_ACT_OK;
}

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
