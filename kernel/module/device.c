// SPDX-License-Identifier: GPL-2.0-or-later
#include "device.h"

#include <linux/if_arp.h>
#include <net/ip.h>

#include "compat.h"
#include "ipeql_netlink.h"
#include "output.h"
#include "pressure.h"
#include "transmit.h"

/*
 * Whatever a slave lacks of these is made good when the packet meets the slave: so trains stay
 * whole as long as one of them may.
 */
#define IPEQL_FEATURES                                                               \
	(NETIF_F_SG | NETIF_F_FRAGLIST | NETIF_F_HIGHDMA | NETIF_F_HW_CSUM |         \
	 NETIF_F_GSO_SOFTWARE | NETIF_F_GSO_ENCAP_ALL)

static int ipeql_device_init(struct net_device *dev)
{
	return ipeql_bundle_init(netdev_priv(dev), dev);
}

static void ipeql_device_uninit(struct net_device *dev)
{
	ipeql_bundle_uninit(netdev_priv(dev));
}

static int ipeql_device_open(struct net_device *dev)
{
	netif_tx_start_all_queues(dev);
	ipeql_bundle_follow(netdev_priv(dev));
	return 0;
}

static int ipeql_device_stop(struct net_device *dev)
{
	ipeql_pressure_end(netdev_priv(dev));
	netif_tx_stop_all_queues(dev); /* for packet sockets that pass by the queue */
	ipeql_bundle_drop_held(netdev_priv(dev));
	return 0;
}

static int ipeql_device_change_mtu(struct net_device *dev, int mtu)
{
	struct ipeql_bundle *bundle = netdev_priv(dev);

	WRITE_ONCE(dev->mtu, mtu);
	bundle->mtu_follows = mtu == dev->max_mtu;
	return 0;
}

static netdev_features_t ipeql_device_fix_features(struct net_device *dev,
						   netdev_features_t features)
{
	struct ipeql_bundle *bundle = netdev_priv(dev);
	const struct ipeql_table *table = rtnl_dereference(bundle->table);

	if (table && table->stripe_unit == IPEQL_STRIPE_UNIT_PACKET)
		return features & ~NETIF_F_GSO_MASK;
	return features;
}

static void ipeql_device_get_stats64(struct net_device *dev, struct rtnl_link_stats64 *stats)
{
	struct ipeql_sums sums;

	ipeql_bundle_sum(netdev_priv(dev), &sums);
	stats->tx_packets = sums.packets;
	stats->tx_bytes = sums.bytes;
	stats->rx_packets = sums.received_packets;
	stats->rx_bytes = sums.received_bytes;
	stats->tx_dropped = ipeql_sums_dropped(&sums);
}

static int ipeql_device_add_slave(struct net_device *dev, struct net_device *slave,
				  struct netlink_ext_ack *extack)
{
	return ipeql_bundle_add(netdev_priv(dev), slave, extack);
}

static int ipeql_device_del_slave(struct net_device *dev, struct net_device *slave)
{
	ipeql_bundle_remove(netdev_priv(dev), slave);
	return 0;
}

static const struct net_device_ops ipeql_device_ops = {
	.ndo_init = ipeql_device_init,
	.ndo_uninit = ipeql_device_uninit,
	.ndo_open = ipeql_device_open,
	.ndo_stop = ipeql_device_stop,
	.ndo_start_xmit = ipeql_xmit,
	.ndo_neigh_construct = ipeql_neighbour_construct,
	.ndo_change_mtu = ipeql_device_change_mtu,
	.ndo_fix_features = ipeql_device_fix_features,
	.ndo_get_stats64 = ipeql_device_get_stats64,
	.ndo_add_slave = ipeql_device_add_slave,
	.ndo_del_slave = ipeql_device_del_slave,
};

static void ipeql_device_free(struct net_device *dev)
{
	struct ipeql_bundle *bundle = netdev_priv(dev);

	free_percpu(bundle->counters);
}

static void ipeql_device_setup(struct net_device *dev)
{
	dev->netdev_ops = &ipeql_device_ops;
	dev->ethtool_ops = &ipeql_ethtool_ops;
	dev->needs_free_netdev = true;
	dev->priv_destructor = ipeql_device_free;
	dev->type = ARPHRD_NONE;
	dev->flags = IFF_POINTOPOINT | IFF_NOARP | IFF_MULTICAST;
	dev->priv_flags |= IFF_NO_QUEUE | IFF_DISABLE_NETPOLL;
	netif_keep_dst(dev); /* it may say the gateway */
	dev->mtu = ETH_DATA_LEN;
	dev->min_mtu = IPV4_MIN_MTU;
	dev->max_mtu = IP_MAX_MTU;
	/* It puts nothing together; but what an upper device lacks of LRO its lower ones lose. */
	dev->features |= IPEQL_FEATURES | NETIF_F_LRO;
	dev->hw_features |= IPEQL_FEATURES | NETIF_F_LRO;
	dev->hw_enc_features |= IPEQL_FEATURES;
	ipeql_compat_setup(dev);
	netif_carrier_off(dev);
}

static struct rtnl_link_ops ipeql_link_ops __read_mostly = {
	.kind = KBUILD_MODNAME,
	.priv_size = sizeof(struct ipeql_bundle),
	.setup = ipeql_device_setup,
};

bool ipeql_is_bundle(const struct net_device *dev)
{
	return dev->rtnl_link_ops == &ipeql_link_ops;
}

int ipeql_device_register(void)
{
	int err = register_netdevice_notifier(&ipeql_notifier);

	if (err)
		return err;
	err = rtnl_link_register(&ipeql_link_ops);
	if (err)
		unregister_netdevice_notifier(&ipeql_notifier);
	return err;
}

/* Delete all bundles, in every network namespace. */
void ipeql_device_unregister(void)
{
	rtnl_link_unregister(&ipeql_link_ops);
	unregister_netdevice_notifier(&ipeql_notifier);
}
