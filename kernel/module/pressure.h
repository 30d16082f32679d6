/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Back-pressure. Where a bundle has a queueing discipline, what is more than 5 ms ahead of the line
 * stays there: so fq_codel or cake decide what goes next. The virtual queues say when, for what they
 * count waits in no queue that could refuse it; a timer lets the discipline go on.
 */
#ifndef IPEQL_PRESSURE_H
#define IPEQL_PRESSURE_H

#include <net/sch_generic.h>

#include "bundle.h"

void ipeql_pressure_init(struct ipeql_bundle *bundle);
void ipeql_pressure_end(struct ipeql_bundle *bundle);
void ipeql_pressure(struct ipeql_bundle *bundle, u64 now, u64 wait, u64 limit);

/* Say whether what is sent over a device comes through a queue. RCU (bh). */
static inline bool ipeql_has_queue(struct net_device *dev)
{
	return rcu_dereference_bh(netdev_get_tx_queue(dev, 0)->qdisc)->enqueue;
}

#endif
