/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An enslaved network device, from its enslaving to its being freed. */
#ifndef IPEQL_SLAVE_H
#define IPEQL_SLAVE_H

#include <linux/netdevice.h>

#include "counters.h"
#include "queue.h"

struct ipeql_verdicts;

struct ipeql_slave {
	struct net_device *dev;
	struct net_device *bundle;
	struct list_head list; /* ipeql_bundle.slaves */
	struct ipeql_counters __percpu *counters;
	struct ipeql_verdicts __percpu *verdicts; /* whose the last packets were */
	bool receives; /* for the bundle */
	bool hears_all; /* groups */
	struct ipeql_queue queue;
};

struct ipeql_slave *ipeql_slave_new(struct net_device *bundle, struct net_device *dev,
				    void (*release)(struct ipeql_queue *queue, struct sk_buff *skb),
				    struct netlink_ext_ack *extack);
void ipeql_slave_free(struct ipeql_slave *slave);
u32 ipeql_slave_backlog(const struct net_device *dev);

/* Say whether a device is up and has carrier; cheap enough to be asked for every packet. */
static inline bool ipeql_is_running(const struct net_device *dev)
{
	const unsigned long mask = BIT(__LINK_STATE_START) | BIT(__LINK_STATE_NOCARRIER);

	return (READ_ONCE(dev->state) & mask) == BIT(__LINK_STATE_START);
}

#endif
