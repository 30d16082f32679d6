// SPDX-License-Identifier: GPL-2.0-or-later
#include "netlink.h"

#include <net/genetlink.h>
#include <net/ipv6.h>
#include <net/sock.h>

#include "device.h"
#include "ipeql_netlink.h"

#define IPEQL_MAX_BANDWIDTH 10000000000000ULL /* bit/s: 10 Tbit/s */
#define IPEQL_MAX_TIME (3600ULL * NSEC_PER_SEC)
/* A bundle's attributes and 32 slaves' take less. */
#define IPEQL_MESSAGE 16384

static struct netlink_range_validation ipeql_bandwidths = {
	.min = 1000,
	.max = IPEQL_MAX_BANDWIDTH,
};
static struct netlink_range_validation ipeql_times = { .max = IPEQL_MAX_TIME };
static struct netlink_range_validation ipeql_intervals = { .min = 1, .max = IPEQL_MAX_TIME };

static const struct nla_policy ipeql_slave_policy[IPEQL_A_SLAVE_MAX + 1] = {
	[IPEQL_A_SLAVE_IFINDEX] = NLA_POLICY_MIN(NLA_U32, 1),
	[IPEQL_A_SLAVE_BANDWIDTH] = NLA_POLICY_FULL_RANGE(NLA_U64, &ipeql_bandwidths),
	[IPEQL_A_SLAVE_LAG] = NLA_POLICY_FULL_RANGE(NLA_U64, &ipeql_times),
	[IPEQL_A_SLAVE_OVERHEAD] = NLA_POLICY_MAX(NLA_U32, 1000),
	[IPEQL_A_SLAVE_VIA] = NLA_POLICY_EXACT_LEN(sizeof(struct in_addr)),
	[IPEQL_A_SLAVE_VIA6] = NLA_POLICY_EXACT_LEN(sizeof(struct in6_addr)),
	[IPEQL_A_SLAVE_USABLE] = NLA_POLICY_MAX(NLA_U8, 1),
	[IPEQL_A_SLAVE_USE] = NLA_POLICY_MAX(NLA_U32, IPEQL_USE_WHEN_DOWN),
};

static const struct nla_policy ipeql_bundle_policy[IPEQL_A_BUNDLE_MAX + 1] = {
	[IPEQL_A_BUNDLE_IFINDEX] = NLA_POLICY_MIN(NLA_U32, 1),
	[IPEQL_A_BUNDLE_IFNAME] = { .type = NLA_NUL_STRING, .len = IFNAMSIZ - 1 },
	[IPEQL_A_BUNDLE_METHOD] = NLA_POLICY_MAX(NLA_U32, IPEQL_DUPLICATE),
	[IPEQL_A_BUNDLE_PACKETS_PER_SLAVE] = NLA_POLICY_MIN(NLA_U32, 1),
	[IPEQL_A_BUNDLE_COUNT] = NLA_POLICY_MAX(NLA_U32, IPEQL_COUNT_PACKETS),
	[IPEQL_A_BUNDLE_POLL_INTERVAL] = NLA_POLICY_FULL_RANGE(NLA_U64, &ipeql_intervals),
	[IPEQL_A_BUNDLE_QUEUE_LIMIT] = NLA_POLICY_FULL_RANGE(NLA_U64, &ipeql_times),
	[IPEQL_A_BUNDLE_MAX_HOLD] = NLA_POLICY_FULL_RANGE(NLA_U64, &ipeql_times),
	[IPEQL_A_BUNDLE_OVERFLOW_AFTER] = NLA_POLICY_FULL_RANGE(NLA_U64, &ipeql_times),
	[IPEQL_A_BUNDLE_COPIES] = NLA_POLICY_RANGE(NLA_U32, 1, IPEQL_MAX_COPIES),
	[IPEQL_A_BUNDLE_LIGHT_DSCPS] = { .type = NLA_U64 },
	[IPEQL_A_BUNDLE_DUPLICATE_DSCPS] = { .type = NLA_U64 },
	[IPEQL_A_BUNDLE_STRIPE_UNIT] = NLA_POLICY_MAX(NLA_U32, IPEQL_STRIPE_UNIT_FLOWLET),
	[IPEQL_A_BUNDLE_RECEIVE] = NLA_POLICY_MAX(NLA_U32, IPEQL_RECEIVE_SLAVE),
	[IPEQL_A_BUNDLE_SLAVE] = NLA_POLICY_NESTED(ipeql_slave_policy),
};

static struct genl_family ipeql_family;

/* Return the bundle that a message names, or an ERR_PTR. RTNL. */
static struct ipeql_bundle *ipeql_find_bundle(struct genl_info *info)
{
	struct net *net = genl_info_net(info);
	struct net_device *dev = NULL;

	if (info->attrs[IPEQL_A_BUNDLE_IFINDEX])
		dev = __dev_get_by_index(net, nla_get_u32(info->attrs[IPEQL_A_BUNDLE_IFINDEX]));
	else if (info->attrs[IPEQL_A_BUNDLE_IFNAME])
		dev = __dev_get_by_name(net, nla_data(info->attrs[IPEQL_A_BUNDLE_IFNAME]));
	if (!dev || !ipeql_is_bundle(dev)) {
		NL_SET_ERR_MSG(info->extack, "there is no such bundle");
		return ERR_PTR(-ENODEV);
	}
	return netdev_priv(dev);
}

/* Say whether the next hops that a slave is given can be such. */
static bool ipeql_next_hops_are_valid(struct nlattr **attrs)
{
	if (attrs[IPEQL_A_SLAVE_VIA]) {
		__be32 via = nla_get_in_addr(attrs[IPEQL_A_SLAVE_VIA]);

		if (ipv4_is_multicast(via) || ipv4_is_lbcast(via) || ipv4_is_loopback(via) ||
		    ipv4_is_zeronet(via))
			return false;
	}
	if (attrs[IPEQL_A_SLAVE_VIA6]) {
		struct in6_addr via6 = nla_get_in6_addr(attrs[IPEQL_A_SLAVE_VIA6]);

		if (ipv6_addr_any(&via6) || ipv6_addr_loopback(&via6) ||
		    ipv6_addr_is_multicast(&via6))
			return false;
	}
	return true;
}

static int ipeql_parse_slave(struct ipeql_table *table, const struct nlattr *nest,
			     struct genl_info *info)
{
	struct nlattr *attrs[IPEQL_A_SLAVE_MAX + 1];
	struct net_device *dev = NULL;
	struct ipeql_given *given;
	struct ipeql_row *row;
	int err;

	err = nla_parse_nested(attrs, IPEQL_A_SLAVE_MAX, nest, ipeql_slave_policy, info->extack);
	if (err)
		return err;
	if (attrs[IPEQL_A_SLAVE_IFINDEX])
		dev = __dev_get_by_index(genl_info_net(info),
					 nla_get_u32(attrs[IPEQL_A_SLAVE_IFINDEX]));
	if (!dev) {
		NL_SET_ERR_MSG_ATTR(info->extack, nest, "there is no such slave");
		return -ENODEV;
	}
	if (ipeql_table_find(table, dev)) {
		NL_SET_ERR_MSG_ATTR(info->extack, nest, "a slave is listed twice");
		return -EINVAL;
	}
	if (!ipeql_next_hops_are_valid(attrs)) {
		NL_SET_ERR_MSG_ATTR(info->extack, nest, "a next hop is one host's address");
		return -EINVAL;
	}
	err = ipeql_table_add(table, dev);
	if (err) {
		NL_SET_ERR_MSG_ATTR(info->extack, nest, "a bundle has at most 32 slaves");
		return err;
	}
	row = &table->row[table->parameters.count - 1];
	given = &table->given[table->parameters.count - 1];
	if (attrs[IPEQL_A_SLAVE_BANDWIDTH])
		given->bandwidth = nla_get_u64(attrs[IPEQL_A_SLAVE_BANDWIDTH]);
	given->has_lag = attrs[IPEQL_A_SLAVE_LAG];
	if (given->has_lag)
		given->path.lag = nla_get_u64(attrs[IPEQL_A_SLAVE_LAG]);
	if (attrs[IPEQL_A_SLAVE_OVERHEAD])
		given->path.overhead = nla_get_u32(attrs[IPEQL_A_SLAVE_OVERHEAD]);
	if (attrs[IPEQL_A_SLAVE_VIA])
		row->via = nla_get_in_addr(attrs[IPEQL_A_SLAVE_VIA]);
	if (attrs[IPEQL_A_SLAVE_VIA6])
		row->via6 = nla_get_in6_addr(attrs[IPEQL_A_SLAVE_VIA6]);
	if (attrs[IPEQL_A_SLAVE_USABLE])
		row->usable = nla_get_u8(attrs[IPEQL_A_SLAVE_USABLE]);
	if (attrs[IPEQL_A_SLAVE_USE])
		row->use = nla_get_u32(attrs[IPEQL_A_SLAVE_USE]);
	return 0;
}

static void ipeql_parse_parameters(struct ipeql_table *table, struct nlattr **attrs)
{
	struct ipeql_parameters *parameters = &table->parameters;
	int attr;

	for (attr = 1; attr <= IPEQL_A_BUNDLE_MAX; attr++)
		if (attrs[attr])
			table->attributes |= BIT(attr);
	if (attrs[IPEQL_A_BUNDLE_METHOD])
		parameters->method = nla_get_u32(attrs[IPEQL_A_BUNDLE_METHOD]);
	if (attrs[IPEQL_A_BUNDLE_PACKETS_PER_SLAVE])
		parameters->packets_per_slave =
			nla_get_u32(attrs[IPEQL_A_BUNDLE_PACKETS_PER_SLAVE]);
	if (attrs[IPEQL_A_BUNDLE_COUNT])
		parameters->count_packets = nla_get_u32(attrs[IPEQL_A_BUNDLE_COUNT]);
	if (attrs[IPEQL_A_BUNDLE_POLL_INTERVAL])
		parameters->poll_interval = nla_get_u64(attrs[IPEQL_A_BUNDLE_POLL_INTERVAL]);
	if (attrs[IPEQL_A_BUNDLE_QUEUE_LIMIT])
		parameters->queue_limit = nla_get_u64(attrs[IPEQL_A_BUNDLE_QUEUE_LIMIT]);
	if (attrs[IPEQL_A_BUNDLE_MAX_HOLD])
		parameters->max_hold = nla_get_u64(attrs[IPEQL_A_BUNDLE_MAX_HOLD]);
	if (attrs[IPEQL_A_BUNDLE_OVERFLOW_AFTER])
		parameters->overflow_after = nla_get_u64(attrs[IPEQL_A_BUNDLE_OVERFLOW_AFTER]);
	if (attrs[IPEQL_A_BUNDLE_STRIPE_UNIT])
		table->stripe_unit = nla_get_u32(attrs[IPEQL_A_BUNDLE_STRIPE_UNIT]);
	if (attrs[IPEQL_A_BUNDLE_COPIES])
		parameters->copies = nla_get_u32(attrs[IPEQL_A_BUNDLE_COPIES]);
	if (attrs[IPEQL_A_BUNDLE_LIGHT_DSCPS])
		parameters->light_dscps = nla_get_u64(attrs[IPEQL_A_BUNDLE_LIGHT_DSCPS]);
	if (attrs[IPEQL_A_BUNDLE_DUPLICATE_DSCPS])
		parameters->duplicate_dscps = nla_get_u64(attrs[IPEQL_A_BUNDLE_DUPLICATE_DSCPS]);
	if (attrs[IPEQL_A_BUNDLE_RECEIVE])
		table->receives =
			nla_get_u32(attrs[IPEQL_A_BUNDLE_RECEIVE]) == IPEQL_RECEIVE_BUNDLE;
}

static int ipeql_set_table(struct ipeql_bundle *bundle, struct genl_info *info)
{
	struct ipeql_table *table = ipeql_table_new();
	const struct nlattr *attr;
	int rest, err = 0;

	if (!table)
		return -ENOMEM;
	ipeql_parse_parameters(table, info->attrs);
	nlmsg_for_each_attr(attr, info->nlhdr, GENL_HDRLEN, rest) {
		if (nla_type(attr) != IPEQL_A_BUNDLE_SLAVE)
			continue;
		err = ipeql_parse_slave(table, attr, info);
		if (err) {
			ipeql_table_free(table);
			return err;
		}
	}
	return ipeql_bundle_set(bundle, table, info->extack);
}

static int ipeql_cmd_bundle_set(struct sk_buff *skb, struct genl_info *info)
{
	struct ipeql_bundle *bundle;
	int err;

	rtnl_lock();
	bundle = ipeql_find_bundle(info);
	err = IS_ERR(bundle) ? PTR_ERR(bundle) : ipeql_set_table(bundle, info);
	rtnl_unlock();
	return err;
}

/* Read what one slave is adjusted by; what is no slave of the bundle is ignored. */
static int ipeql_parse_adjusted(const struct ipeql_table *table, struct ipeql_adjusted *adjusted,
				const struct nlattr *nest, struct genl_info *info)
{
	struct nlattr *attrs[IPEQL_A_SLAVE_MAX + 1];
	u32 i;
	int err;

	err = nla_parse_nested(attrs, IPEQL_A_SLAVE_MAX, nest, ipeql_slave_policy, info->extack);
	if (err)
		return err;
	if (!attrs[IPEQL_A_SLAVE_IFINDEX]) {
		NL_SET_ERR_MSG_ATTR(info->extack, nest, "a slave without its ifindex");
		return -EINVAL;
	}
	for (i = 0; i < table->parameters.count; i++)
		if (table->row[i].dev->ifindex == nla_get_u32(attrs[IPEQL_A_SLAVE_IFINDEX]))
			break;
	if (i == table->parameters.count)
		return 0;
	if (attrs[IPEQL_A_SLAVE_BANDWIDTH])
		adjusted[i].bandwidth = nla_get_u64(attrs[IPEQL_A_SLAVE_BANDWIDTH]);
	adjusted[i].has_lag = attrs[IPEQL_A_SLAVE_LAG];
	if (adjusted[i].has_lag)
		adjusted[i].lag = nla_get_u64(attrs[IPEQL_A_SLAVE_LAG]);
	if (attrs[IPEQL_A_SLAVE_USABLE])
		adjusted[i].out = !nla_get_u8(attrs[IPEQL_A_SLAVE_USABLE]);
	return 0;
}

static int ipeql_adjust(struct ipeql_bundle *bundle, struct genl_info *info)
{
	const struct ipeql_table *table = rtnl_dereference(bundle->table);
	struct ipeql_adjusted adjusted[IPEQL_MAX_SLAVES] = {};
	const struct nlattr *attr;
	int rest, err;

	nlmsg_for_each_attr(attr, info->nlhdr, GENL_HDRLEN, rest) {
		if (nla_type(attr) != IPEQL_A_BUNDLE_SLAVE)
			continue;
		err = ipeql_parse_adjusted(table, adjusted, attr, info);
		if (err)
			return err;
	}
	return ipeql_bundle_adjust(bundle, adjusted);
}

static int ipeql_cmd_bundle_adjust(struct sk_buff *skb, struct genl_info *info)
{
	struct ipeql_bundle *bundle;
	int err;

	rtnl_lock();
	bundle = ipeql_find_bundle(info);
	err = IS_ERR(bundle) ? PTR_ERR(bundle) : ipeql_adjust(bundle, info);
	rtnl_unlock();
	return err;
}

static bool ipeql_put_u64(struct sk_buff *skb, int attr, u64 value)
{
	return nla_put_u64_64bit(skb, attr, value, IPEQL_A_SLAVE_PAD);
}

static int ipeql_fill_slave(struct sk_buff *skb, const struct ipeql_row *row,
			    const struct ipeql_given *given)
{
	const struct ipeql_queue *queue = &row->slave->queue;
	struct ipeql_sums sums = {};
	struct nlattr *nest = nla_nest_start(skb, IPEQL_A_BUNDLE_SLAVE);

	if (!nest)
		return -EMSGSIZE;
	ipeql_counters_add(row->slave->counters, &sums);
	if (nla_put_u32(skb, IPEQL_A_SLAVE_IFINDEX, row->dev->ifindex) ||
	    nla_put_string(skb, IPEQL_A_SLAVE_IFNAME, row->dev->name) ||
	    (given->bandwidth && ipeql_put_u64(skb, IPEQL_A_SLAVE_BANDWIDTH, given->bandwidth)) ||
	    (given->has_lag && ipeql_put_u64(skb, IPEQL_A_SLAVE_LAG, given->path.lag)) ||
	    nla_put_u32(skb, IPEQL_A_SLAVE_OVERHEAD, given->path.overhead) ||
	    (row->via && nla_put_in_addr(skb, IPEQL_A_SLAVE_VIA, row->via)) ||
	    (!ipv6_addr_any(&row->via6) &&
	     nla_put_in6_addr(skb, IPEQL_A_SLAVE_VIA6, &row->via6)) ||
	    nla_put_u8(skb, IPEQL_A_SLAVE_USABLE, row->usable) ||
	    nla_put_u32(skb, IPEQL_A_SLAVE_USE, row->use) ||
	    nla_put_u8(skb, IPEQL_A_SLAVE_RUNNING, ipeql_is_running(row->dev)) ||
	    ipeql_put_u64(skb, IPEQL_A_SLAVE_PICKS, sums.picks) ||
	    ipeql_put_u64(skb, IPEQL_A_SLAVE_PACKETS, sums.packets) ||
	    ipeql_put_u64(skb, IPEQL_A_SLAVE_BYTES, sums.bytes) ||
	    nla_put_u8(skb, IPEQL_A_SLAVE_RECEIVES, row->slave->receives) ||
	    ipeql_put_u64(skb, IPEQL_A_SLAVE_RECEIVED_PACKETS, sums.received_packets) ||
	    ipeql_put_u64(skb, IPEQL_A_SLAVE_RECEIVED_BYTES, sums.received_bytes) ||
	    nla_put_u32(skb, IPEQL_A_SLAVE_HELD_PACKETS, skb_queue_len_lockless(&queue->packets)) ||
	    nla_put_u32(skb, IPEQL_A_SLAVE_HELD_BYTES, READ_ONCE(queue->bytes)) ||
	    ipeql_put_u64(skb, IPEQL_A_SLAVE_QUEUE_FULL, sums.dropped[IPEQL_DROP_QUEUE_FULL]) ||
	    ipeql_put_u64(skb, IPEQL_A_SLAVE_LINK_FULL, sums.dropped[IPEQL_DROP_LINK_FULL]) ||
	    ipeql_put_u64(skb, IPEQL_A_SLAVE_NO_NEIGHBOUR,
			  sums.dropped[IPEQL_DROP_NO_NEIGHBOUR]) ||
	    ipeql_put_u64(skb, IPEQL_A_SLAVE_NO_MEMORY, sums.dropped[IPEQL_DROP_NO_MEMORY]))
		return -EMSGSIZE;
	nla_nest_end(skb, nest);
	return 0;
}

static int ipeql_fill_parameters(struct sk_buff *skb, const struct ipeql_table *table)
{
	const struct ipeql_parameters *parameters = &table->parameters;
	const u32 given = table->attributes;

	if (nla_put_u32(skb, IPEQL_A_BUNDLE_METHOD, parameters->method) ||
	    (given & BIT(IPEQL_A_BUNDLE_PACKETS_PER_SLAVE) &&
	     nla_put_u32(skb, IPEQL_A_BUNDLE_PACKETS_PER_SLAVE, parameters->packets_per_slave)) ||
	    (given & BIT(IPEQL_A_BUNDLE_COUNT) &&
	     nla_put_u32(skb, IPEQL_A_BUNDLE_COUNT, parameters->count_packets)) ||
	    (given & BIT(IPEQL_A_BUNDLE_POLL_INTERVAL) &&
	     nla_put_u64_64bit(skb, IPEQL_A_BUNDLE_POLL_INTERVAL, parameters->poll_interval,
			       IPEQL_A_BUNDLE_PAD)) ||
	    (given & BIT(IPEQL_A_BUNDLE_QUEUE_LIMIT) &&
	     nla_put_u64_64bit(skb, IPEQL_A_BUNDLE_QUEUE_LIMIT, parameters->queue_limit,
			       IPEQL_A_BUNDLE_PAD)) ||
	    (given & BIT(IPEQL_A_BUNDLE_MAX_HOLD) &&
	     nla_put_u64_64bit(skb, IPEQL_A_BUNDLE_MAX_HOLD, parameters->max_hold,
			       IPEQL_A_BUNDLE_PAD)) ||
	    (given & BIT(IPEQL_A_BUNDLE_OVERFLOW_AFTER) &&
	     nla_put_u64_64bit(skb, IPEQL_A_BUNDLE_OVERFLOW_AFTER, parameters->overflow_after,
			       IPEQL_A_BUNDLE_PAD)) ||
	    (given & BIT(IPEQL_A_BUNDLE_STRIPE_UNIT) &&
	     nla_put_u32(skb, IPEQL_A_BUNDLE_STRIPE_UNIT, table->stripe_unit)) ||
	    (given & BIT(IPEQL_A_BUNDLE_COPIES) &&
	     nla_put_u32(skb, IPEQL_A_BUNDLE_COPIES, parameters->copies)) ||
	    (given & BIT(IPEQL_A_BUNDLE_LIGHT_DSCPS) &&
	     nla_put_u64_64bit(skb, IPEQL_A_BUNDLE_LIGHT_DSCPS, parameters->light_dscps,
			       IPEQL_A_BUNDLE_PAD)) ||
	    (given & BIT(IPEQL_A_BUNDLE_DUPLICATE_DSCPS) &&
	     nla_put_u64_64bit(skb, IPEQL_A_BUNDLE_DUPLICATE_DSCPS, parameters->duplicate_dscps,
			       IPEQL_A_BUNDLE_PAD)) ||
	    nla_put_u32(skb, IPEQL_A_BUNDLE_RECEIVE,
			table->receives ? IPEQL_RECEIVE_BUNDLE : IPEQL_RECEIVE_SLAVE))
		return -EMSGSIZE;
	return 0;
}

static int ipeql_fill_counters(struct sk_buff *skb, struct ipeql_bundle *bundle)
{
	struct ipeql_sums sums = {};

	ipeql_counters_add(bundle->counters, &sums);
	if (nla_put_u64_64bit(skb, IPEQL_A_BUNDLE_NO_SLAVE, sums.dropped[IPEQL_DROP_NO_SLAVE],
			      IPEQL_A_BUNDLE_PAD) ||
	    nla_put_u64_64bit(skb, IPEQL_A_BUNDLE_QUEUE_FULL, sums.dropped[IPEQL_DROP_QUEUE_FULL],
			      IPEQL_A_BUNDLE_PAD) ||
	    nla_put_u64_64bit(skb, IPEQL_A_BUNDLE_MALFORMED, sums.dropped[IPEQL_DROP_MALFORMED],
			      IPEQL_A_BUNDLE_PAD) ||
	    nla_put_u64_64bit(skb, IPEQL_A_BUNDLE_NO_NEIGHBOUR,
			      sums.dropped[IPEQL_DROP_NO_NEIGHBOUR], IPEQL_A_BUNDLE_PAD))
		return -EMSGSIZE;
	return 0;
}

/* Write one bundle as a message; -EMSGSIZE where there is no room. RTNL. */
static int ipeql_fill(struct sk_buff *skb, struct ipeql_bundle *bundle, u32 portid, u32 seq,
		      int flags)
{
	const struct ipeql_table *table = rtnl_dereference(bundle->table);
	void *message = genlmsg_put(skb, portid, seq, &ipeql_family, flags, IPEQL_CMD_BUNDLE_GET);
	u32 i;

	if (!message)
		return -EMSGSIZE;
	if (nla_put_u32(skb, IPEQL_A_BUNDLE_IFINDEX, bundle->dev->ifindex) ||
	    nla_put_string(skb, IPEQL_A_BUNDLE_IFNAME, bundle->dev->name) ||
	    ipeql_fill_parameters(skb, table) || ipeql_fill_counters(skb, bundle))
		goto cancel;
	for (i = 0; i < table->parameters.count; i++)
		if (ipeql_fill_slave(skb, &table->row[i], &table->given[i]))
			goto cancel;
	genlmsg_end(skb, message);
	return 0;

cancel:
	genlmsg_cancel(skb, message);
	return -EMSGSIZE;
}

static int ipeql_cmd_bundle_get(struct sk_buff *skb, struct genl_info *info)
{
	struct sk_buff *reply = genlmsg_new(IPEQL_MESSAGE, GFP_KERNEL);
	struct ipeql_bundle *bundle;
	int err;

	if (!reply)
		return -ENOMEM;
	rtnl_lock();
	bundle = ipeql_find_bundle(info);
	err = IS_ERR(bundle) ? PTR_ERR(bundle) :
			       ipeql_fill(reply, bundle, info->snd_portid, info->snd_seq, 0);
	rtnl_unlock();
	if (err) {
		nlmsg_free(reply);
		return err;
	}
	return genlmsg_reply(reply, info);
}

static int ipeql_dump_start(struct netlink_callback *callback)
{
	callback->min_dump_alloc = IPEQL_MESSAGE;
	return 0;
}

/* Write as many bundles as there is room for; args[0] is how many were written before. */
static int ipeql_dump(struct sk_buff *skb, struct netlink_callback *callback)
{
	struct net_device *dev;
	long index = 0;

	rtnl_lock();
	for_each_netdev(sock_net(skb->sk), dev) {
		if (!ipeql_is_bundle(dev) || index++ < callback->args[0])
			continue;
		if (ipeql_fill(skb, netdev_priv(dev), NETLINK_CB(callback->skb).portid,
			       callback->nlh->nlmsg_seq, NLM_F_MULTI))
			break;
		callback->args[0]++;
	}
	rtnl_unlock();
	return skb->len;
}

static const struct genl_ops ipeql_ops[] = {
	{
		.cmd = IPEQL_CMD_BUNDLE_GET,
		.doit = ipeql_cmd_bundle_get,
		.start = ipeql_dump_start,
		.dumpit = ipeql_dump,
	},
	{
		.cmd = IPEQL_CMD_BUNDLE_SET,
		.doit = ipeql_cmd_bundle_set,
		.flags = GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = IPEQL_CMD_BUNDLE_ADJUST,
		.doit = ipeql_cmd_bundle_adjust,
		.flags = GENL_UNS_ADMIN_PERM,
	},
};

static struct genl_family ipeql_family __ro_after_init = {
	.name = IPEQL_FAMILY_NAME,
	.version = IPEQL_FAMILY_VERSION,
	.maxattr = IPEQL_A_BUNDLE_MAX,
	.policy = ipeql_bundle_policy,
	.ops = ipeql_ops,
	.n_ops = ARRAY_SIZE(ipeql_ops),
	.module = THIS_MODULE,
	.netnsok = true,
};

int __init ipeql_netlink_register(void)
{
	return genl_register_family(&ipeql_family);
}

void ipeql_netlink_unregister(void)
{
	genl_unregister_family(&ipeql_family);
}
