// SPDX-License-Identifier: GPL-2.0-or-later
#include "slave.h"

#include <linux/if_arp.h>
#include <linux/rtnetlink.h>
#include <net/sch_generic.h>

#include "receive.h"
#include "verdict.h"

/*
 * Enslave a device: it becomes the bundle's lower device, and nothing else of it is changed.
 * release sends a packet that was held back. RTNL. Returns an ERR_PTR where it cannot be.
 */
struct ipeql_slave *ipeql_slave_new(struct net_device *bundle, struct net_device *dev,
				    void (*release)(struct ipeql_queue *queue, struct sk_buff *skb),
				    struct netlink_ext_ack *extack)
{
	struct ipeql_slave *slave;
	int err;

	ASSERT_RTNL();
	if (dev->flags & IFF_LOOPBACK) {
		NL_SET_ERR_MSG(extack, "a loopback device leads nowhere");
		return ERR_PTR(-EINVAL);
	}
	slave = kzalloc(sizeof(*slave), GFP_KERNEL);
	if (!slave)
		return ERR_PTR(-ENOMEM);
	slave->dev = dev;
	slave->bundle = bundle;
	slave->counters = ipeql_counters_alloc();
	slave->verdicts = alloc_percpu(struct ipeql_verdicts);
	if (!slave->counters || !slave->verdicts) {
		err = -ENOMEM;
		goto free;
	}
	ipeql_queue_init(&slave->queue, release);
	err = netdev_master_upper_dev_link(dev, bundle, NULL, NULL, extack);
	if (err)
		goto free;
	return slave;

free:
	free_percpu(slave->verdicts);
	free_percpu(slave->counters);
	kfree(slave);
	return ERR_PTR(err);
}

/* Undo ipeql_slave_new(); no packet may be on its way to the slave any more. RTNL. */
void ipeql_slave_free(struct ipeql_slave *slave)
{
	ASSERT_RTNL();
	ipeql_receive_by(slave, false);
	netdev_upper_dev_unlink(slave->dev, slave->bundle);
	free_percpu(slave->verdicts);
	free_percpu(slave->counters);
	kfree(slave);
}

static u32 ipeql_qdisc_backlog(const struct Qdisc *qdisc)
{
	u32 backlog = qdisc->qstats.backlog;
	int cpu;

	if (qdisc_is_percpu_stats(qdisc))
		for_each_possible_cpu(cpu)
			backlog += per_cpu_ptr(qdisc->cpu_qstats, cpu)->backlog;
	return backlog;
}

/*
 * Return the bytes that a device has not sent yet: those in its queueing disciplines and, where the
 * driver keeps account of them (byte queue limits), those in its rings. RCU.
 */
u32 ipeql_slave_backlog(const struct net_device *dev)
{
	u32 backlog = 0;
	unsigned int i;

	for (i = 0; i < dev->real_num_tx_queues; i++) {
		const struct netdev_queue *queue = netdev_get_tx_queue(dev, i);

		backlog += ipeql_qdisc_backlog(rcu_dereference_bh(queue->qdisc));
#ifdef CONFIG_BQL
		backlog += READ_ONCE(queue->dql.num_queued) - READ_ONCE(queue->dql.num_completed);
#endif
	}
	return backlog;
}
