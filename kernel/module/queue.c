// SPDX-License-Identifier: GPL-2.0-or-later
#include "queue.h"

#include <net/dst.h>

#include "compat.h"

/* What one slave holds back at most, whatever queue-limit and max-hold allow. */
#define IPEQL_HELD_BYTES (64U << 20)

/*
 * How early a packet is handed over that queues behind another of its slave anyway. It leaves no
 * earlier for that, but a timer that comes late, by less than this, does not leave the line idle:
 * idle time is never made up for, and the slaves would drift apart by as much as each has ever been
 * late.
 */
#define IPEQL_LEAD NSEC_PER_MSEC

struct ipeql_held {
	u64 release;
};

static struct ipeql_held *ipeql_held(struct sk_buff *skb)
{
	return (struct ipeql_held *)skb->cb;
}

/* Say whether too much is held for another packet. */
bool ipeql_queue_is_full(const struct ipeql_queue *queue)
{
	return READ_ONCE(queue->bytes) > IPEQL_HELD_BYTES;
}

/*
 * Hold a packet until release, or behind those that are held; tx is the time it takes the line.
 * Returns false where it may go at once. A packet that is held counts no longer for its socket:
 * TCP would wait for what it has sent to leave, and nothing leaves before more is sent.
 */
bool ipeql_queue_hold(struct ipeql_queue *queue, struct sk_buff *skb, u64 now, u64 release, u64 tx)
{
	bool first;

	spin_lock(&queue->lock);
	first = skb_queue_empty(&queue->packets);
	if (release <= now && first && !queue->releasing) {
		queue->line_free = release + tx;
		spin_unlock(&queue->lock);
		return false;
	}
	ipeql_held(skb)->release = release <= queue->line_free ? release - IPEQL_LEAD : release;
	queue->line_free = release + tx;
	queue->bytes += skb->truesize;
	skb_orphan(skb);
	skb_dst_force(skb);
	__skb_queue_tail(&queue->packets, skb);
	if (first)
		hrtimer_start(&queue->timer, ns_to_ktime(ipeql_held(skb)->release),
			      HRTIMER_MODE_ABS_SOFT);
	spin_unlock(&queue->lock);
	return true;
}

/* Send what is due, and come back for the next. Runs in softirq context. */
static enum hrtimer_restart ipeql_queue_release(struct hrtimer *timer)
{
	struct ipeql_queue *queue = container_of(timer, struct ipeql_queue, timer);
	enum hrtimer_restart restart = HRTIMER_NORESTART;
	u64 now = ktime_get_ns();
	struct sk_buff_head due;
	struct sk_buff *skb;

	__skb_queue_head_init(&due);
	spin_lock(&queue->lock);
	queue->releasing = true;
	while ((skb = skb_peek(&queue->packets))) {
		if (ipeql_held(skb)->release > now) {
			hrtimer_set_expires(timer, ns_to_ktime(ipeql_held(skb)->release));
			restart = HRTIMER_RESTART;
			break;
		}
		__skb_unlink(skb, &queue->packets);
		queue->bytes -= skb->truesize;
		__skb_queue_tail(&due, skb);
	}
	spin_unlock(&queue->lock);
	while ((skb = __skb_dequeue(&due)))
		queue->release(queue, skb);
	spin_lock(&queue->lock);
	queue->releasing = false;
	spin_unlock(&queue->lock);
	return restart;
}

void ipeql_queue_init(struct ipeql_queue *queue,
		      void (*release)(struct ipeql_queue *queue, struct sk_buff *skb))
{
	queue->release = release;
	spin_lock_init(&queue->lock);
	__skb_queue_head_init(&queue->packets);
	hrtimer_setup(&queue->timer, ipeql_queue_release, CLOCK_MONOTONIC, HRTIMER_MODE_ABS_SOFT);
}

/* Move all that is held to the end of packets. */
void ipeql_queue_take_all(struct ipeql_queue *queue, struct sk_buff_head *packets)
{
	spin_lock_bh(&queue->lock);
	skb_queue_splice_tail_init(&queue->packets, packets);
	queue->bytes = 0;
	queue->line_free = 0;
	spin_unlock_bh(&queue->lock);
}

/* Let the timer run no more; may sleep. Nobody may hold packets here meanwhile. */
void ipeql_queue_stop(struct ipeql_queue *queue)
{
	hrtimer_cancel(&queue->timer);
}
