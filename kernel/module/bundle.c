// SPDX-License-Identifier: GPL-2.0-or-later
#include "bundle.h"

#include <linux/rtnetlink.h>
#include <net/ip.h>
#include <net/sch_generic.h>

#include "pressure.h"
#include "receive.h"
#include "transmit.h"

static struct ipeql_slave *ipeql_bundle_find(struct ipeql_bundle *bundle,
					     const struct net_device *dev)
{
	struct ipeql_slave *slave;

	list_for_each_entry(slave, &bundle->slaves, list)
		if (slave->dev == dev)
			return slave;
	return NULL;
}

/* Place packets that were held on the slaves of now. */
static void ipeql_place_all(struct ipeql_bundle *bundle, struct sk_buff_head *packets)
{
	struct sk_buff *skb;

	local_bh_disable();
	while ((skb = __skb_dequeue(packets)))
		ipeql_xmit(skb, bundle->dev);
	local_bh_enable();
}

/* Free the slaves that are not in a table, and place anew what they held: no packet finds them. */
static void ipeql_free_others(struct ipeql_bundle *bundle, const struct ipeql_table *table)
{
	struct ipeql_slave *slave, *next;
	struct sk_buff_head packets;

	__skb_queue_head_init(&packets);
	list_for_each_entry_safe(slave, next, &bundle->slaves, list) {
		if (table && ipeql_table_find(table, slave->dev))
			continue;
		ipeql_queue_stop(&slave->queue);
		ipeql_queue_take_all(&slave->queue, &packets);
		spin_lock_bh(&bundle->lock);
		ipeql_counters_add(slave->counters, &bundle->departed);
		list_del(&slave->list);
		spin_unlock_bh(&bundle->lock);
		ipeql_slave_free(slave);
	}
	ipeql_place_all(bundle, &packets);
}

/* Find or make the slave of every row; new ones are put on a list. Nothing is made on error. */
static int ipeql_enslave_all(struct ipeql_bundle *bundle, struct ipeql_table *table,
			     struct list_head *made, struct netlink_ext_ack *extack)
{
	struct ipeql_slave *slave, *next;
	int err;
	u32 i;

	for (i = 0; i < table->parameters.count; i++) {
		struct ipeql_row *row = &table->row[i];

		slave = ipeql_bundle_find(bundle, row->dev);
		if (!slave) {
			slave = ipeql_slave_new(bundle->dev, row->dev, ipeql_release, extack);
			if (IS_ERR(slave)) {
				err = PTR_ERR(slave);
				goto undo;
			}
			list_add_tail(&slave->list, made);
		}
		row->slave = slave;
	}
	return 0;

undo:
	list_for_each_entry_safe(slave, next, made, list)
		ipeql_slave_free(slave);
	return err;
}

/* Put a complete table into force, and free the slaves that it has no more. Returns the last one. */
static struct ipeql_table *ipeql_replace(struct ipeql_bundle *bundle, struct ipeql_table *table)
{
	struct ipeql_table *before = rtnl_dereference(bundle->table);

	ipeql_table_inherit(table, before);
	rcu_assign_pointer(bundle->table, table);
	WRITE_ONCE(bundle->trouble, true);
	synchronize_net();
	ipeql_free_others(bundle, table);
	ipeql_bundle_follow(bundle);
	return before;
}

/* Return another table of the same configuration, complete but for its slaves; or an ERR_PTR. */
static struct ipeql_table *ipeql_spare(const struct ipeql_table *table)
{
	struct ipeql_table *spare = ipeql_table_copy(table);
	int err;

	if (!spare)
		return ERR_PTR(-ENOMEM);
	err = ipeql_table_derive(spare, NULL);
	if (err) {
		ipeql_table_free(spare);
		return ERR_PTR(err);
	}
	return spare;
}

/*
 * Put a table into force, and free the slaves that it has no more. Takes the table over; on error
 * it is freed and nothing has changed. RTNL.
 */
int ipeql_bundle_set(struct ipeql_bundle *bundle, struct ipeql_table *table,
		     struct netlink_ext_ack *extack)
{
	struct ipeql_slave *slave;
	struct ipeql_table *spare;
	LIST_HEAD(made);
	int err;

	ipeql_table_carry(table, rtnl_dereference(bundle->table));
	err = ipeql_table_derive(table, extack);
	if (err)
		goto free_table;
	spare = ipeql_spare(table);
	if (IS_ERR(spare)) {
		err = PTR_ERR(spare);
		goto free_table;
	}
	err = ipeql_enslave_all(bundle, table, &made, extack);
	if (err)
		goto free_spare;
	memcpy(spare->row, table->row, sizeof(spare->row));
	spin_lock_bh(&bundle->lock);
	list_splice_tail(&made, &bundle->slaves);
	spin_unlock_bh(&bundle->lock);
	ipeql_table_free(bundle->spare);
	bundle->spare = spare;
	ipeql_table_free(ipeql_replace(bundle, table));
	list_for_each_entry(slave, &bundle->slaves, list)
		ipeql_receive_by(slave, table->receives);
	return 0;

free_spare:
	ipeql_table_free(spare);
free_table:
	ipeql_table_free(table);
	return err;
}

/*
 * Replace all that the slaves are adjusted by; adjusted[i] is of row i of the table in force. What
 * slaves that are out now have held back is placed anew: packets on other CPUs that still read the
 * older table may add to that for a moment, and ipeql_release() places those. RTNL.
 */
int ipeql_bundle_adjust(struct ipeql_bundle *bundle, const struct ipeql_adjusted *adjusted)
{
	struct ipeql_table *before = rtnl_dereference(bundle->table);
	struct ipeql_table *table = ipeql_table_adjusted(before, adjusted);
	u32 i;

	if (!table)
		return -ENOMEM;
	rcu_assign_pointer(bundle->table, table);
	ipeql_table_adjust(bundle->spare, adjusted);
	if (table->usable != before->usable)
		WRITE_ONCE(bundle->trouble, true);
	for (i = 0; i < table->parameters.count; i++)
		if (before->usable & ~table->usable & BIT(i))
			ipeql_bundle_place_anew(bundle, table->row[i].dev);
	kvfree_rcu(before, rcu);
	return 0;
}

/* Enslave one more device, with the default of everything. RTNL. */
int ipeql_bundle_add(struct ipeql_bundle *bundle, struct net_device *dev,
		     struct netlink_ext_ack *extack)
{
	struct ipeql_table *table = ipeql_table_copy(rtnl_dereference(bundle->table));
	int err;

	if (!table)
		return -ENOMEM;
	err = ipeql_table_add(table, dev);
	if (err) {
		NL_SET_ERR_MSG(extack, "a bundle has at most 32 slaves");
		ipeql_table_free(table);
		return err;
	}
	return ipeql_bundle_set(bundle, table, extack);
}

/*
 * Free one device. RTNL. This needs no memory and cannot fail, since a device that is unregistered
 * does not wait: the spare table takes the place of the one in force, which is the next spare.
 */
void ipeql_bundle_remove(struct ipeql_bundle *bundle, const struct net_device *dev)
{
	ipeql_table_remove(bundle->spare, dev);
	bundle->spare = ipeql_replace(bundle, bundle->spare);
	ipeql_table_remove(bundle->spare, dev);
}

static void ipeql_follow_mtu(struct net_device *dev, struct ipeql_bundle *bundle, u32 least)
{
	dev->max_mtu = max_t(u32, least, dev->min_mtu);
	if (!list_empty(&bundle->slaves) && (bundle->mtu_follows || dev->mtu > dev->max_mtu))
		dev_set_mtu(dev, dev->max_mtu);
}

/* Let the bundle's MTU, carrier and headroom be what its slaves allow. RTNL. */
void ipeql_bundle_follow(struct ipeql_bundle *bundle)
{
	struct net_device *dev = bundle->dev;
	u32 least = IP_MAX_MTU, headroom = 0, tailroom = 0;
	struct ipeql_slave *slave;
	bool running = false;

	list_for_each_entry(slave, &bundle->slaves, list) {
		const struct net_device *link = slave->dev;

		running |= ipeql_is_running(link);
		least = min_t(u32, least, link->mtu);
		headroom = max_t(u32, headroom, link->hard_header_len + link->needed_headroom);
		tailroom = max_t(u32, tailroom, link->needed_tailroom);
	}
	dev->needed_headroom = headroom;
	dev->needed_tailroom = tailroom;
	ipeql_follow_mtu(dev, bundle, least);
	netdev_update_features(dev);
	if (running && !netif_carrier_ok(dev)) {
		netif_carrier_on(dev);
		/* Now, rather than when the link watch gets to it: packets are on their way. */
		if (netif_running(dev))
			dev_activate(dev);
	} else if (!running) {
		netif_carrier_off(dev);
	}
}

/* Place anew what a slave that went down has held back. RTNL. */
void ipeql_bundle_place_anew(struct ipeql_bundle *bundle, const struct net_device *dev)
{
	struct ipeql_slave *slave = ipeql_bundle_find(bundle, dev);
	struct sk_buff_head packets;

	if (!slave)
		return;
	__skb_queue_head_init(&packets);
	ipeql_queue_take_all(&slave->queue, &packets);
	ipeql_place_all(bundle, &packets);
}

/* Drop all that is held back: the bundle is down and sends nothing. RTNL. */
void ipeql_bundle_drop_held(struct ipeql_bundle *bundle)
{
	struct sk_buff_head packets;
	struct ipeql_slave *slave;
	struct sk_buff *skb;

	__skb_queue_head_init(&packets);
	/* A timer that runs may still give a packet to another slave; after that, none does. */
	list_for_each_entry(slave, &bundle->slaves, list)
		ipeql_queue_stop(&slave->queue);
	list_for_each_entry(slave, &bundle->slaves, list) {
		ipeql_queue_take_all(&slave->queue, &packets);
		ipeql_queue_stop(&slave->queue);
	}
	local_bh_disable();
	while ((skb = __skb_dequeue(&packets)))
		ipeql_drop_held(bundle, skb);
	local_bh_enable();
}

/* Return in sums what the bundle and all slaves that it ever had have counted. */
void ipeql_bundle_sum(struct ipeql_bundle *bundle, struct ipeql_sums *sums)
{
	struct ipeql_slave *slave;

	spin_lock_bh(&bundle->lock);
	*sums = bundle->departed;
	list_for_each_entry(slave, &bundle->slaves, list)
		ipeql_counters_add(slave->counters, sums);
	spin_unlock_bh(&bundle->lock);
	ipeql_counters_add(bundle->counters, sums);
}

int ipeql_bundle_init(struct ipeql_bundle *bundle, struct net_device *dev)
{
	struct ipeql_table *table = ipeql_table_new();
	int err;

	bundle->dev = dev;
	bundle->mtu_follows = dev->mtu == ETH_DATA_LEN; /* none was given */
	INIT_LIST_HEAD(&bundle->slaves);
	ipeql_pressure_init(bundle);
	spin_lock_init(&bundle->lock);
	bundle->counters = ipeql_counters_alloc();
	if (!table || !bundle->counters) {
		err = -ENOMEM;
		goto free;
	}
	err = ipeql_table_derive(table, NULL);
	if (err)
		goto free;
	bundle->spare = ipeql_spare(table);
	if (IS_ERR(bundle->spare)) {
		err = PTR_ERR(bundle->spare);
		goto free;
	}
	RCU_INIT_POINTER(bundle->table, table);
	return 0;

free:
	ipeql_table_free(table);
	free_percpu(bundle->counters);
	bundle->counters = NULL;
	return err;
}

/* Free all slaves and what ipeql_bundle_init() made; no packet comes any more. RTNL. */
void ipeql_bundle_uninit(struct ipeql_bundle *bundle)
{
	ipeql_bundle_drop_held(bundle);
	ipeql_free_others(bundle, NULL);
	ipeql_pressure_end(bundle);
	ipeql_table_free(rtnl_dereference(bundle->table));
	RCU_INIT_POINTER(bundle->table, NULL);
	ipeql_table_free(bundle->spare);
	bundle->spare = NULL;
}
