// SPDX-License-Identifier: GPL-2.0-or-later
#include "verdict.h"

#include <linux/inetdevice.h>
#include <net/addrconf.h>
#include <net/ip6_route.h>
#include <net/ip_fib.h>
#include <net/l3mdev.h>

/* Say whether an IPv4 address is the slave's own, or the broadcast address of one of its subnets. */
static bool ipeql_is_slaves4(const struct net_device *dev, __be32 address)
{
	const struct in_device *in_dev = __in_dev_get_rcu(dev);
	const struct in_ifaddr *own;

	if (!in_dev)
		return false;
	in_dev_for_each_ifa_rcu(own, in_dev)
		if (own->ifa_local == address || (own->ifa_broadcast == address && address))
			return true;
	return false;
}

/* Say whether an answer would leave by the bundle. */
static bool ipeql_routes_to4(struct net_device *bundle, __be32 source, __be32 destination)
{
	struct flowi4 flow = {
		.flowi4_iif = LOOPBACK_IFINDEX,
		.flowi4_l3mdev = l3mdev_master_ifindex_rcu(bundle),
		.flowi4_scope = RT_SCOPE_UNIVERSE,
		.daddr = source,
	};
	struct fib_result found;

	if (ipv4_is_multicast(source) || ipv4_is_lbcast(source) || ipv4_is_loopback(source) ||
	    ipv4_is_zeronet(source))
		return false;
	if (!ipv4_is_multicast(destination) && !ipv4_is_lbcast(destination))
		flow.saddr = destination;
	return !fib_lookup(dev_net(bundle), &flow, &found, 0) &&
	       found.type == RTN_UNICAST && fib_info_nh_uses_dev(found.fi, bundle);
}

/* Ask the routing table whether an IPv4 packet is the bundle's, and remember it. RCU. */
bool ipeql_find_verdict4(const struct ipeql_slave *slave, const struct iphdr *header,
			 struct ipeql_verdict4 *verdict)
{
	verdict->source = header->saddr;
	verdict->destination = header->daddr;
	verdict->tick = jiffies;
	verdict->bundle = !ipeql_is_slaves4(slave->dev, header->daddr) &&
			  ipeql_routes_to4(slave->bundle, header->saddr, header->daddr);
	return verdict->bundle;
}

#if IS_ENABLED(CONFIG_IPV6)
static bool ipeql_routes_to6(struct net_device *bundle, const struct in6_addr *source,
			     const struct in6_addr *destination)
{
	struct flowi6 flow = {
		.flowi6_iif = LOOPBACK_IFINDEX,
		.flowi6_l3mdev = l3mdev_master_ifindex_rcu(bundle),
		.daddr = *source,
	};
	struct dst_entry *route;
	int flags = 0;
	bool found;

	if (!(ipv6_addr_type(source) & IPV6_ADDR_UNICAST))
		return false;
	if (!ipv6_addr_is_multicast(destination)) {
		flow.saddr = *destination;
		flags = RT6_LOOKUP_F_HAS_SADDR;
	}
	route = ip6_route_lookup(dev_net(bundle), &flow, NULL, flags);
	found = !route->error && route->dev == bundle &&
		!(container_of(route, struct rt6_info, dst)->rt6i_flags &
		  (RTF_REJECT | RTF_ANYCAST | RTF_LOCAL));
	dst_release(route);
	return found;
}

static bool ipeql_find_verdict6(const struct ipeql_slave *slave, const struct in6_addr *source,
				const struct in6_addr *destination)
{
	struct net *net = dev_net(slave->dev);

	/* Every link has such sources: only the destination can tell. */
	if (ipv6_addr_type(source) & IPV6_ADDR_LINKLOCAL)
		return ipv6_chk_addr(net, destination, slave->bundle, 1);
	return !ipv6_chk_addr(net, destination, slave->dev, 1) &&
	       ipeql_routes_to6(slave->bundle, source, destination);
}

/* Say whether an IPv6 packet is the bundle's. RCU, BH off. */
bool ipeql_is_bundles6(const struct ipeql_slave *slave, const struct in6_addr *source,
		       const struct in6_addr *destination)
{
	const u32 at = hash_32((__force u32)source->s6_addr32[3] ^
			       ror32((__force u32)destination->s6_addr32[3], 8),
			       IPEQL_VERDICT_BITS);
	struct ipeql_verdict6 *verdict = &this_cpu_ptr(slave->verdicts)->ipv6[at];

	if (verdict->tick != (u32)jiffies || !ipv6_addr_equal(&verdict->source, source) ||
	    !ipv6_addr_equal(&verdict->destination, destination)) {
		verdict->source = *source;
		verdict->destination = *destination;
		verdict->tick = jiffies;
		verdict->bundle = ipeql_find_verdict6(slave, source, destination);
	}
	return verdict->bundle;
}
#endif
