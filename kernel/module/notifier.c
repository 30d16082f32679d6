// SPDX-License-Identifier: GPL-2.0-or-later
/* What happens to the slaves. */
#include <linux/rtnetlink.h>

#include "device.h"

static int ipeql_slave_event(struct notifier_block *block, unsigned long event, void *data)
{
	struct net_device *dev = netdev_notifier_info_to_dev(data);
	struct net_device *master = netdev_master_upper_dev_get(dev);
	struct ipeql_bundle *bundle;

	if (!master || !ipeql_is_bundle(master))
		return NOTIFY_DONE;
	bundle = netdev_priv(master);
	WRITE_ONCE(bundle->trouble, true); /* the next packet looks at all slaves */
	switch (event) {
	case NETDEV_DOWN:
		ipeql_bundle_place_anew(bundle, dev);
		fallthrough;
	case NETDEV_UP:
	case NETDEV_CHANGEMTU:
		ipeql_bundle_follow(bundle);
		break;
	case NETDEV_CHANGE:
		if (!ipeql_is_running(dev))
			ipeql_bundle_place_anew(bundle, dev);
		ipeql_bundle_follow(bundle);
		break;
	case NETDEV_UNREGISTER: /* or it moves to another network namespace */
		ipeql_bundle_remove(bundle, dev);
		break;
	case NETDEV_PRE_TYPE_CHANGE: /* what is known of its next hops would be wrong */
		return NOTIFY_BAD;
	}
	return NOTIFY_DONE;
}

struct notifier_block ipeql_notifier = {
	.notifier_call = ipeql_slave_event,
};
