/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A bundle: the private part of its network device.
 *
 * Who protects what:
 *   RTNL		which table is in force, who is a slave, mtu_follows
 *   RCU (bh)		packets read the table; what a new one replaces is freed when they have done.
 *			What arrives on a slave reads that, by its receive handler; verdicts are each
 *			CPU's own
 *   account->lock	the state of bw_poll and bw_lag_eq; the other methods' states are each CPU's
 *			own, or grow by compare-and-swap (ipeql_methods.h)
 *   queue->lock	what a slave holds back; inside no other lock of ours
 *   bundle->lock	the list of slaves and `departed`, against those who sum up counters
 * None is held while a packet is handed to a slave.
 */
#ifndef IPEQL_BUNDLE_H
#define IPEQL_BUNDLE_H

#include <linux/netdevice.h>

#include "counters.h"
#include "table.h"

struct ipeql_bundle {
	struct ipeql_table __rcu *table;
	struct ipeql_table *spare; /* of the same configuration, without state; RTNL */
	struct ipeql_counters __percpu *counters; /* what reached no slave */
	bool trouble; /* a slave could not be used: look at all of them for every packet */
	bool mtu_follows; /* the MTU is the smallest slave's, not set by hand below that */
	struct net_device *dev;
	struct hrtimer wake; /* the device's queue, which is stopped while too much waits for the lines */
	struct list_head slaves;
	spinlock_t lock;
	struct ipeql_sums departed; /* what slaves that were freed had counted */
};

int ipeql_bundle_init(struct ipeql_bundle *bundle, struct net_device *dev);
void ipeql_bundle_uninit(struct ipeql_bundle *bundle);
int ipeql_bundle_set(struct ipeql_bundle *bundle, struct ipeql_table *table,
		     struct netlink_ext_ack *extack);
int ipeql_bundle_adjust(struct ipeql_bundle *bundle, const struct ipeql_adjusted *adjusted);
int ipeql_bundle_add(struct ipeql_bundle *bundle, struct net_device *dev,
		     struct netlink_ext_ack *extack);
void ipeql_bundle_remove(struct ipeql_bundle *bundle, const struct net_device *dev);
void ipeql_bundle_follow(struct ipeql_bundle *bundle);
void ipeql_bundle_place_anew(struct ipeql_bundle *bundle, const struct net_device *dev);
void ipeql_bundle_drop_held(struct ipeql_bundle *bundle);
void ipeql_bundle_sum(struct ipeql_bundle *bundle, struct ipeql_sums *sums);

#endif
