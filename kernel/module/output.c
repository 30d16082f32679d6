// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The way of a packet from the IP layer to the bundle. A device upon devices has every packet pass
 * the device layer twice, which is most of what it costs. Where nobody would see the first pass, no
 * queueing discipline, filter or tap, there is none: the bundle's neighbours, which have no address
 * to be resolved, hand packets to it directly (as drivers/net/vrf.c does, for the same reason).
 */
#include "output.h"

#include <net/neighbour.h>
#include <net/sch_generic.h>

#include "compat.h"
#include "pressure.h"
#include "transmit.h"

/* Packets of this CPU that are on their way through a bundle by the short way. */
static DEFINE_PER_CPU(unsigned int, ipeql_under_way);

/* Say whether nobody looks at what leaves by a bundle; a bundle that is down has a no-op queue. */
static bool ipeql_is_unobserved(struct net_device *dev)
{
	return !ipeql_has_queue(dev) && !ipeql_looks_at_egress(dev) &&
	       !dev_nit_active(dev);
}

static noinline int ipeql_output_the_long_way(struct net_device *dev, struct sk_buff *skb)
{
	/* Its discipline was taken away while the queue was stopped. */
	if (unlikely(netif_queue_stopped(dev) && !ipeql_has_queue(dev)))
		netif_tx_wake_all_queues(dev);
	return dev_queue_xmit(skb);
}

/*
 * Trains go the long way: what the bundle does not take whole is segmented there. So does a packet
 * that comes here from here, by a slave that is a tunnel over the bundle: there loops are counted,
 * and cut.
 */
static int ipeql_output(struct neighbour *neighbour, struct sk_buff *skb)
{
	struct net_device *dev = neighbour->dev;
	int result;

	rcu_read_lock_bh();
	if (!skb_is_gso(skb) && !__this_cpu_read(ipeql_under_way) && ipeql_is_unobserved(dev)) {
		__this_cpu_inc(ipeql_under_way);
		result = ipeql_xmit(skb, dev);
		__this_cpu_dec(ipeql_under_way);
	} else {
		result = ipeql_output_the_long_way(dev, skb);
	}
	rcu_read_unlock_bh();
	return result;
}

/* ndo_neigh_construct: no link header, so no address to wait for. */
int ipeql_neighbour_construct(struct net_device *dev, struct neighbour *neighbour)
{
	neighbour->output = ipeql_output;
	return 0;
}
