/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What bw_lag_eq holds back for one slave, first in, first out. */
#ifndef IPEQL_QUEUE_H
#define IPEQL_QUEUE_H

#include <linux/hrtimer.h>
#include <linux/skbuff.h>

struct ipeql_queue {
	spinlock_t lock; /* of all but the timer's own state */
	struct sk_buff_head packets;
	struct hrtimer timer; /* runs out when the first packet is due */
	bool releasing; /* packets that were due are being handed over: none may overtake them */
	u32 bytes; /* memory that the packets take */
	void (*release)(struct ipeql_queue *queue, struct sk_buff *skb); /* sends one; BH is off */
	u64 line_free; /* when the slave has sent them all, by what is known of its bandwidth */
};

void ipeql_queue_init(struct ipeql_queue *queue,
		      void (*release)(struct ipeql_queue *queue, struct sk_buff *skb));
bool ipeql_queue_hold(struct ipeql_queue *queue, struct sk_buff *skb, u64 now, u64 release, u64 tx);
bool ipeql_queue_is_full(const struct ipeql_queue *queue);
void ipeql_queue_take_all(struct ipeql_queue *queue, struct sk_buff_head *packets);
void ipeql_queue_stop(struct ipeql_queue *queue);

#endif
