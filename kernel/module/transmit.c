// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * No queue of the bundle is stopped because a slave is full: a packet keeps its socket until it has
 * left the slave, so that a full slave slows the sender down by itself, and one slave's word
 * (NET_XMIT_DROP) goes back to the protocol that sent the packet. Packets that are forwarded meet
 * the slaves' own queues. What is held back has lost its socket: pressure.h is about that.
 */
#include "transmit.h"

#include <net/dst.h>
#include <net/sch_generic.h>

#include "bundle.h"
#include "compat.h"
#include "neighbour.h"
#include "packet.h"
#include "pressure.h"

static noinline netdev_tx_t ipeql_drop(struct ipeql_bundle *bundle, struct sk_buff *skb,
				       enum ipeql_reason reason, const struct ipeql_view *view)
{
	ipeql_count_dropped(bundle->counters, false, reason, view->segments);
	kfree_skb(skb);
	return NETDEV_TX_OK;
}

/* The one place where all methods but the cheapest are compiled. */
static noinline u32 ipeql_pick_any(const struct ipeql_table *table, struct ipeql_state *state,
				   u32 set, struct ipeql_packet *packet)
{
	return ipeql_pick(&table->parameters, state, set, packet);
}

/*
 * The same where there are rules beside the method. Packets on other CPUs may
 * have a bucket at the same time: the last of them says where its flows are.
 */
static noinline u32 ipeql_pick_ruled(const struct ipeql_table *table, struct ipeql_state *state,
				     u32 set, struct ipeql_packet *packet, struct ipeql_view *view)
{
	const struct ipeql_parameters *parameters = &table->parameters;
	struct ipeql_state *queues = &table->account->state;
	u64 bucket = 0, *flow = NULL;
	u32 index;

	if (table->buckets) {
		flow = &table->buckets[skb_get_hash(view->skb) % IPEQL_BUCKETS];
		bucket = READ_ONCE(*flow);
	}
	set = ipeql_rule(parameters, queues, &bucket, set, packet);
	index = ipeql_pick_any(table, state, set, packet);
	ipeql_note(parameters, queues, &bucket, index, packet);
	if (flow && index < IPEQL_MAX_SLAVES)
		WRITE_ONCE(*flow, bucket);
	view->also = index < IPEQL_MAX_SLAVES ? packet->also : 0;
	return index;
}

static __always_inline u32 ipeql_pick_by(const struct ipeql_table *table,
					 struct ipeql_state *state, u32 set,
					 struct ipeql_packet *packet, struct ipeql_view *view)
{
	if (unlikely(table->parameters.ruled))
		return ipeql_pick_ruled(table, state, set, packet, view);
	return ipeql_pick_any(table, state, ipeql_allow(&table->parameters, set, packet), packet);
}

/*
 * Return how long the next packet that is free to choose would wait for the slave that bw_lag_eq
 * gives it. Those in use when others are full count: else nothing would ever be full.
 */
static noinline u64 ipeql_next_wait(const struct ipeql_table *table,
				    const struct ipeql_packet *packet)
{
	const struct ipeql_state *state = &table->account->state;
	u64 least = U64_MAX, wait = 0;
	u32 i;

	for (i = 0; i < table->parameters.count; i++) {
		u64 sent;

		if (!(state->paths & BIT(i)))
			continue;
		sent = ipeql_sent(&table->parameters, state, i, packet);
		if (sent >= least)
			continue;
		least = sent;
		wait = state->busy[i] > packet->now ? state->busy[i] - packet->now : 0;
	}
	return wait;
}

static noinline u32 ipeql_decide_any(struct ipeql_table *table, u32 set, struct ipeql_view *view)
{
	struct ipeql_packet packet;
	u32 index, i;

	packet.length = view->length;
	packet.segments = view->segments;
	packet.header = view->header;
	packet.expected = view->expected;
	packet.light = table->holds && view->light;
	if (table->parameters.ruled)
		packet.dscp = ipeql_dscp(view->skb, view);
	packet.now = table->timed ? ktime_get_ns() : 0;
	if (table->parameters.method == IPEQL_AUTO_BW)
		for (i = 0; i < table->parameters.count; i++)
			packet.queued[i] = ipeql_slave_backlog(table->row[i].dev);
	if (table->states)
		return ipeql_pick_by(table, this_cpu_ptr(table->states), set, &packet, view);
	if (!table->serialised)
		return ipeql_pick_by(table, &table->account->state, set, &packet, view);
	spin_lock(&table->account->lock);
	index = ipeql_pick_by(table, &table->account->state, set, &packet, view);
	if (table->holds && view->queued)
		view->wait = ipeql_next_wait(table, &packet);
	spin_unlock(&table->account->lock);
	if (table->holds && index < IPEQL_MAX_SLAVES) {
		view->now = packet.now;
		view->release = packet.release;
		view->tx = ipeql_tx(&table->parameters, index, &packet);
	}
	return index;
}

static __always_inline u32 ipeql_decide(struct ipeql_table *table, u32 set, struct ipeql_view *view)
{
	if (unlikely(view->multicast))
		return set ? __ffs(ipeql_candidates(&table->parameters, set)) : IPEQL_NO_SLAVE;
	if (!table->in_turn)
		return ipeql_decide_any(table, set, view);
	if (unlikely(!set))
		return IPEQL_NO_SLAVE;
	return ipeql_round_robin(&table->parameters, this_cpu_ptr(table->states), set);
}

/*
 * Say whether a device that runs has its queues at work, too: that comes a moment after its
 * carrier, and until then they drop packets and report nothing. Only packets that look at all
 * slaves ask: all do from when a slave goes down until it is seen to be at work again.
 */
static bool ipeql_is_at_work(const struct net_device *dev)
{
	return rcu_access_pointer(netdev_get_tx_queue(dev, 0)->qdisc) != &noop_qdisc;
}

/*
 * Return the slaves that a packet can take: those that run and whose next hop answers; where none
 * does, those that run, and the packet waits in the neighbour's queue.
 */
static noinline u32 ipeql_survey(struct ipeql_bundle *bundle, const struct ipeql_table *table,
				 struct ipeql_view *view)
{
	u32 running = 0, reachable = 0, i;
	bool trouble;

	for (i = 0; i < table->parameters.count; i++) {
		const struct ipeql_row *row = &table->row[i];

		if (!(table->usable & BIT(i)) || !ipeql_is_running(row->dev) ||
		    !ipeql_is_at_work(row->dev))
			continue;
		running |= BIT(i);
		if (!row->resolves || view->multicast ||
		    ipeql_neighbour_answers(ipeql_neighbour(row, view)))
			reachable |= BIT(i);
	}
	view->expected = running;
	/* That a slave in reserve cannot be used is none while another is used. */
	trouble = ipeql_candidates(&table->parameters, reachable) !=
		  ipeql_candidates(&table->parameters, table->usable);
	if (READ_ONCE(bundle->trouble) != trouble)
		WRITE_ONCE(bundle->trouble, trouble);
	return reachable ? reachable : running;
}

/*
 * Choose among the slaves that can be used for this packet. Returns NULL where there is none;
 * reason says why.
 */
static noinline const struct ipeql_row *ipeql_choose_carefully(struct ipeql_bundle *bundle,
							       struct ipeql_table *table,
							       struct ipeql_view *view,
							       enum ipeql_reason *reason)
{
	u32 index = ipeql_decide(table, ipeql_survey(bundle, table, view), view);
	const struct ipeql_row *row = &table->row[IPEQL_AT(index)];

	*reason = index == IPEQL_QUEUE_FULL ? IPEQL_DROP_QUEUE_FULL : IPEQL_DROP_NO_SLAVE;
	if (index >= IPEQL_MAX_SLAVES)
		return NULL;
	if (row->resolves)
		view->neighbour = ipeql_neighbour(row, view);
	*reason = IPEQL_DROP_NO_NEIGHBOUR;
	return row->resolves && IS_ERR(view->neighbour) ? NULL : row;
}

/*
 * Choose a slave among all that are usable. Returns NULL where it cannot be used at once, or there
 * is none.
 */
static __always_inline const struct ipeql_row *ipeql_choose(const struct ipeql_bundle *bundle,
							    struct ipeql_table *table,
							    struct ipeql_view *view)
{
	const struct ipeql_row *row;
	u32 index;

	if (unlikely(READ_ONCE(bundle->trouble)))
		return NULL;
	index = ipeql_decide(table, table->usable, view);
	if (unlikely(index >= IPEQL_MAX_SLAVES))
		return NULL;
	row = &table->row[index];
	if (unlikely(!ipeql_is_running(row->dev)))
		return NULL;
	if (!row->resolves)
		return row;
	view->neighbour = ipeql_neighbour(row, view);
	return likely(ipeql_neighbour_is_valid(view->neighbour)) ? row : NULL;
}

static noinline int ipeql_refuse(const struct ipeql_row *row, struct sk_buff *skb,
				 enum ipeql_reason reason, const struct ipeql_view *view)
{
	ipeql_count_dropped(row->slave->counters, true, reason, view->segments);
	kfree_skb(skb);
	return NET_XMIT_DROP;
}

/* Hand a packet to a slave. Returns what the slave's queue says of it. */
static __always_inline int ipeql_send(const struct ipeql_row *row, struct sk_buff *skb,
				      const struct ipeql_view *view)
{
	int result;

	if (unlikely(skb_cow_head(skb, LL_RESERVED_SPACE(row->dev))))
		return ipeql_refuse(row, skb, IPEQL_DROP_NO_MEMORY, view);
	skb->dev = row->dev;
	if (row->resolves) {
		skb_dst_drop(skb); /* neighbour.h says why */
		/* The header kept ready says that what follows is the neighbour's protocol. */
		result = neigh_output(view->neighbour, skb, view->ipv6 != view->ipv6_hop);
	} else {
		result = dev_queue_xmit(skb); /* a tunnel learns of its path's MTU by the route */
	}
	if (likely(result == NET_XMIT_SUCCESS || result == NET_XMIT_CN))
		ipeql_count_sent(row->slave->counters, view->segments, ipeql_wire_bytes(view));
	else
		ipeql_count_dropped(row->slave->counters, true, IPEQL_DROP_LINK_FULL,
				    view->segments);
	return result;
}

/* Send a copy of a packet to each slave that gets one. */
static noinline void ipeql_send_copies(const struct ipeql_table *table, const struct sk_buff *skb,
				       const struct ipeql_view *view)
{
	u32 i;

	for (i = 0; i < table->parameters.count; i++) {
		const struct ipeql_row *row = &table->row[i];
		struct ipeql_view copied = *view;
		struct sk_buff *copy;

		if (!(view->also & BIT(i)) || !ipeql_is_running(row->dev))
			continue;
		copy = skb_clone((struct sk_buff *)skb, GFP_ATOMIC);
		if (!copy) {
			ipeql_count_dropped(row->slave->counters, true, IPEQL_DROP_NO_MEMORY,
					    view->segments);
			continue;
		}
		if (row->resolves)
			copied.neighbour = ipeql_neighbour(row, view);
		if (row->resolves && IS_ERR(copied.neighbour))
			ipeql_refuse(row, copy, IPEQL_DROP_NO_NEIGHBOUR, &copied);
		else
			ipeql_send(row, copy, &copied);
	}
}

/* Say whether a packet is of a class, so that nothing holds it. */
static bool ipeql_is_of_class(const struct ipeql_table *table, const struct sk_buff *skb,
			      const struct ipeql_view *view)
{
	const struct ipeql_parameters *parameters = &table->parameters;

	return (parameters->light_dscps | parameters->duplicate_dscps) >> ipeql_dscp(skb, view) & 1;
}

/* Keep a packet until it is due; false where that is now. */
static noinline bool ipeql_hold(const struct ipeql_row *row, struct sk_buff *skb,
				const struct ipeql_view *view)
{
	struct ipeql_queue *queue = &row->slave->queue;

	if (ipeql_queue_is_full(queue)) {
		ipeql_refuse(row, skb, IPEQL_DROP_QUEUE_FULL, view);
		return true;
	}
	return ipeql_queue_hold(queue, skb, view->now, view->release, view->tx);
}

static __always_inline const struct ipeql_row *ipeql_place(struct ipeql_bundle *bundle,
							   struct ipeql_table *table,
							   struct ipeql_view *view,
							   enum ipeql_reason *reason)
{
	const struct ipeql_row *row = ipeql_choose(bundle, table, view);

	return likely(row) ? row : ipeql_choose_carefully(bundle, table, view, reason);
}

/* Place one packet or train by the method that holds some back. */
static noinline netdev_tx_t ipeql_xmit_equalised(struct sk_buff *skb, struct net_device *dev,
						 struct ipeql_table *table)
{
	struct ipeql_bundle *bundle = netdev_priv(dev);
	enum ipeql_reason reason ipeql_filled_in;
	struct ipeql_view view ipeql_filled_in;
	const struct ipeql_row *row;

	if (unlikely(!ipeql_look(skb, &view)))
		return ipeql_drop(bundle, skb, IPEQL_DROP_MALFORMED, &view);
	view.light = ipeql_is_light(skb, &view) || ipeql_is_of_class(table, skb, &view);
	view.queued = !view.multicast && ipeql_has_queue(dev);
	row = ipeql_place(bundle, table, &view, &reason);
	if (unlikely(!row))
		return ipeql_drop(bundle, skb, reason, &view);
	if (view.queued)
		ipeql_pressure(bundle, view.now, view.wait, table->parameters.queue_limit);
	if (unlikely(view.also))
		ipeql_send_copies(table, skb, &view);
	if (!view.multicast && !view.light && ipeql_hold(row, skb, &view))
		return NETDEV_TX_OK;
	return ipeql_send(row, skb, &view);
}

/* ndo_start_xmit: place one packet or train. */
netdev_tx_t ipeql_xmit(struct sk_buff *skb, struct net_device *dev)
{
	struct ipeql_bundle *bundle = netdev_priv(dev);
	struct ipeql_table *table = rcu_dereference_bh(bundle->table);
	enum ipeql_reason reason ipeql_filled_in;
	struct ipeql_view view ipeql_filled_in;
	const struct ipeql_row *row;

	if (table->holds)
		return ipeql_xmit_equalised(skb, dev, table);
	if (unlikely(!ipeql_look(skb, &view)))
		return ipeql_drop(bundle, skb, IPEQL_DROP_MALFORMED, &view);
	row = ipeql_place(bundle, table, &view, &reason);
	if (unlikely(!row))
		return ipeql_drop(bundle, skb, reason, &view);
	if (unlikely(view.also))
		ipeql_send_copies(table, skb, &view);
	return ipeql_send(row, skb, &view);
}

/* Drop a packet that was held back when the bundle went down. BH is off. */
void ipeql_drop_held(struct ipeql_bundle *bundle, struct sk_buff *skb)
{
	const u32 segments = max_t(u32, skb_shinfo(skb)->gso_segs, 1);

	ipeql_count_dropped(bundle->counters, false, IPEQL_DROP_NO_SLAVE, segments);
	kfree_skb(skb);
}

/* Send a packet that its slave has held back; where that can no more, place it anew. */
void ipeql_release(struct ipeql_queue *queue, struct sk_buff *skb)
{
	struct ipeql_slave *slave = container_of(queue, struct ipeql_slave, queue);
	struct ipeql_bundle *bundle = netdev_priv(slave->bundle);
	const struct ipeql_table *table;
	const struct ipeql_row *row;
	struct ipeql_view view;

	if (!netif_running(bundle->dev)) {
		ipeql_drop_held(bundle, skb);
		return;
	}
	rcu_read_lock_bh();
	table = rcu_dereference_bh(bundle->table);
	row = ipeql_table_find(table, slave->dev);
	if (row && (table->usable & BIT(row - table->row)) && ipeql_is_running(row->dev) && ipeql_look(skb, &view)) {
		if (row->resolves)
			view.neighbour = ipeql_neighbour(row, &view);
		if (row->resolves && IS_ERR(view.neighbour))
			ipeql_refuse(row, skb, IPEQL_DROP_NO_NEIGHBOUR, &view);
		else
			ipeql_send(row, skb, &view);
	} else {
		ipeql_xmit(skb, bundle->dev);
	}
	rcu_read_unlock_bh();
}
