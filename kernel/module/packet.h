/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A packet as the methods and the neighbour tables need to see it. */
#ifndef IPEQL_PACKET_H
#define IPEQL_PACKET_H

#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/skbuff.h>
#include <net/dsfield.h>
#include <net/dst.h>
#include <net/neighbour.h>
#include <net/route.h>

/* The headers of IPv4 and TCP have 60 bytes each at most; 40 are left for what IPv6 adds. */
#define IPEQL_LONGEST_ACK 160

struct ipeql_view {
	struct sk_buff *skb;
	bool multicast; /* to a group or to all: the method does not place it */
	bool ipv6;
	bool ipv6_hop; /* the next hop is an IPv6 one, be the packet IPv4 */
	__be32 hop; /* the gateway of the packet's route, else its destination */
	const struct in6_addr *hop6; /* the same of IPv6, in the route or the packet */
	struct neighbour *neighbour; /* on the slave that was chosen, if that resolves next hops */
	u32 length; /* of the IP packet or train */
	u32 segments; /* wire packets it becomes */
	u32 header; /* bytes each of them after the first repeats */
	u32 expected; /* slaves about to be usable */
	u32 also; /* slaves that get a copy */
	/* Where the method holds packets: */
	bool light; /* a pure acknowledgement, an ICMP echo, or of a class */
	bool queued; /* in the bundle's queueing discipline, before it came here */
	u64 now; /* when it was placed, */
	u64 release; /* when it is due, */
	u64 tx; /* how long it takes the line, ns, */
	u64 wait; /* and how long the next one like it would wait for a line, where it is queued */
};

bool ipeql_look_at_ipv6(struct sk_buff *skb, struct ipeql_view *view);
void ipeql_look_at_train(const struct sk_buff *skb, struct ipeql_view *view);
bool ipeql_is_light_inside(const struct sk_buff *skb, const struct ipeql_view *view);

/* Return the bytes of IP that go over the wire. */
static inline u32 ipeql_wire_bytes(const struct ipeql_view *view)
{
	return view->length + (view->segments - 1) * view->header;
}

/* Return the route that the packet carries, if that is one of this family. */
static inline const struct dst_entry *ipeql_route(const struct sk_buff *skb, int family)
{
	const struct dst_entry *dst = skb_dst(skb);

	return dst && dst->ops->family == family ? dst : NULL;
}

static inline bool ipeql_look_at_ipv4(struct sk_buff *skb, struct ipeql_view *view)
{
	const struct dst_entry *route;

	if (unlikely(!pskb_may_pull(skb, sizeof(struct iphdr))))
		return false;
	skb_reset_network_header(skb);
	view->ipv6 = false;
	view->ipv6_hop = false;
	view->hop = ((const struct iphdr *)skb->data)->daddr;
	view->multicast = ipv4_is_multicast(view->hop) || ipv4_is_lbcast(view->hop);
	route = ipeql_route(skb, AF_INET);
	if (route) {
		const struct rtable *rt = container_of(route, struct rtable, dst);

		if (rt->rt_gw_family == AF_INET) {
			view->hop = rt->rt_gw4;
		} else if (unlikely(rt->rt_gw_family)) {
			view->ipv6_hop = true;
			view->hop6 = &rt->rt_gw6;
		}
	}
	return true;
}

/* Look at a packet; false where it is no IP packet. Inline for what it costs. */
static inline bool ipeql_look(struct sk_buff *skb, struct ipeql_view *view)
{
	view->skb = skb;
	view->length = skb->len;
	view->segments = 1;
	view->header = 0;
	view->expected = 0;
	view->also = 0;
	if (skb->protocol == htons(ETH_P_IP)) {
		if (unlikely(!ipeql_look_at_ipv4(skb, view)))
			return false;
	} else if (!ipeql_look_at_ipv6(skb, view)) {
		return false;
	}
	if (skb_is_gso(skb))
		ipeql_look_at_train(skb, view);
	return true;
}

/* Return the DSCP of a packet that was looked at. */
static inline u32 ipeql_dscp(const struct sk_buff *skb, const struct ipeql_view *view)
{
	if (view->ipv6)
		return ipv6_get_dsfield((const struct ipv6hdr *)skb->data) >> 2;
	return ipv4_get_dsfield((const struct iphdr *)skb->data) >> 2;
}

/*
 * Say whether a packet that was looked at is an ICMP echo, or its reply, or a TCP segment without
 * payload and without SYN, FIN or RST. A fragment is none, nor is what stands behind other IPv6
 * headers than options and routing.
 */
static inline bool ipeql_is_light(const struct sk_buff *skb, const struct ipeql_view *view)
{
	u8 protocol;

	if (view->segments > 1)
		return false;
	protocol = view->ipv6 ? ((const struct ipv6hdr *)skb->data)->nexthdr :
				((const struct iphdr *)skb->data)->protocol;
	if (protocol != IPPROTO_ICMP && protocol != IPPROTO_ICMPV6 &&
	    (view->length > IPEQL_LONGEST_ACK || (!view->ipv6 && protocol != IPPROTO_TCP)))
		return false;
	return ipeql_is_light_inside(skb, view);
}

#endif
