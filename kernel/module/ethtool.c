// SPDX-License-Identifier: GPL-2.0-or-later
/* `ethtool -S`: what each slave has counted, then what reached none. */
#include <linux/ethtool.h>

#include "device.h"

static const char *const ipeql_slave_counts[] = {
	"picks",      "packets",   "bytes",	   "received_packets", "received_bytes",
	"queue_full", "link_full", "no_neighbour", "no_memory",
};

static const char *const ipeql_bundle_counts[] = {
	"no_slave", "queue_full", "malformed", "no_neighbour",
};

static void ipeql_get_drvinfo(struct net_device *dev, struct ethtool_drvinfo *info)
{
	strscpy(info->driver, KBUILD_MODNAME, sizeof(info->driver));
	strscpy(info->version, IPEQL_VERSION, sizeof(info->version));
}

static int ipeql_get_sset_count(struct net_device *dev, int set)
{
	struct ipeql_bundle *bundle = netdev_priv(dev);
	u32 slaves = rtnl_dereference(bundle->table)->parameters.count;

	if (set != ETH_SS_STATS)
		return -EOPNOTSUPP;
	return slaves * ARRAY_SIZE(ipeql_slave_counts) + ARRAY_SIZE(ipeql_bundle_counts);
}

static void ipeql_get_strings(struct net_device *dev, u32 set, u8 *data)
{
	struct ipeql_bundle *bundle = netdev_priv(dev);
	const struct ipeql_table *table = rtnl_dereference(bundle->table);
	u32 i, k;

	if (set != ETH_SS_STATS)
		return;
	for (i = 0; i < table->parameters.count; i++)
		for (k = 0; k < ARRAY_SIZE(ipeql_slave_counts); k++)
			ethtool_sprintf(&data, "%s_%s", table->row[i].dev->name,
					ipeql_slave_counts[k]);
	for (k = 0; k < ARRAY_SIZE(ipeql_bundle_counts); k++)
		ethtool_sprintf(&data, "%s", ipeql_bundle_counts[k]);
}

static void ipeql_get_ethtool_stats(struct net_device *dev, struct ethtool_stats *stats, u64 *data)
{
	struct ipeql_bundle *bundle = netdev_priv(dev);
	const struct ipeql_table *table = rtnl_dereference(bundle->table);
	struct ipeql_sums sums;
	u32 i;

	for (i = 0; i < table->parameters.count; i++) {
		memset(&sums, 0, sizeof(sums));
		ipeql_counters_add(table->row[i].slave->counters, &sums);
		*data++ = sums.picks;
		*data++ = sums.packets;
		*data++ = sums.bytes;
		*data++ = sums.received_packets;
		*data++ = sums.received_bytes;
		*data++ = sums.dropped[IPEQL_DROP_QUEUE_FULL];
		*data++ = sums.dropped[IPEQL_DROP_LINK_FULL];
		*data++ = sums.dropped[IPEQL_DROP_NO_NEIGHBOUR];
		*data++ = sums.dropped[IPEQL_DROP_NO_MEMORY];
	}
	memset(&sums, 0, sizeof(sums));
	ipeql_counters_add(bundle->counters, &sums);
	*data++ = sums.dropped[IPEQL_DROP_NO_SLAVE];
	*data++ = sums.dropped[IPEQL_DROP_QUEUE_FULL];
	*data++ = sums.dropped[IPEQL_DROP_MALFORMED];
	*data++ = sums.dropped[IPEQL_DROP_NO_NEIGHBOUR];
}

const struct ethtool_ops ipeql_ethtool_ops = {
	.get_drvinfo = ipeql_get_drvinfo,
	.get_link = ethtool_op_get_link,
	.get_sset_count = ipeql_get_sset_count,
	.get_strings = ipeql_get_strings,
	.get_ethtool_stats = ipeql_get_ethtool_stats,
};
