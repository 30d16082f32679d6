// SPDX-License-Identifier: GPL-2.0-or-later
#include "packet.h"

#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <net/dst_metadata.h>
#include <net/ip6_route.h>
#include <net/ipv6.h>
#include <net/route.h>

/* Return the route that the packet carries, if that is one of this family. */
static const struct dst_entry *ipeql_route(const struct sk_buff *skb, int family)
{
	const struct dst_entry *dst = skb_dst(skb);

	return dst && dst->ops->family == family ? dst : NULL;
}

/* Count the wire packets of a train, and the bytes that each of them repeats. */
static void ipeql_look_at_train(const struct sk_buff *skb, struct ipeql_packet *packet)
{
	const struct skb_shared_info *shared = skb_shinfo(skb);
	u32 header = skb->encapsulation ? skb_inner_transport_offset(skb) :
					  skb_transport_offset(skb);

	if (shared->gso_segs > 1)
		packet->segments = shared->gso_segs;
	if (shared->gso_type & (SKB_GSO_TCPV4 | SKB_GSO_TCPV6))
		header += skb->encapsulation ? inner_tcp_hdrlen(skb) : tcp_hdrlen(skb);
	else if (shared->gso_type & SKB_GSO_UDP_L4)
		header += sizeof(struct udphdr);
	packet->header = header;
}

/* Look at a packet; false where it is no IP packet. */
bool ipeql_look(struct sk_buff *skb, struct ipeql_view *view)
{
	const struct dst_entry *route;

	view->neighbour = NULL;
	view->packet.length = skb->len;
	view->packet.segments = 1;
	view->packet.header = 0;
	view->packet.expected = 0;
	if (likely(skb->protocol == htons(ETH_P_IP))) {
		if (unlikely(!pskb_may_pull(skb, sizeof(struct iphdr))))
			return false;
		skb_reset_network_header(skb);
		view->hop = ip_hdr(skb)->daddr;
		view->multicast = ipv4_is_multicast(view->hop) || ipv4_is_lbcast(view->hop);
		view->ipv6 = false;
		view->ipv6_hop = false;
		route = ipeql_route(skb, AF_INET);
		if (route) {
			const struct rtable *rt = container_of(route, struct rtable, dst);

			if (rt->rt_gw_family == AF_INET)
				view->hop = rt->rt_gw4;
			view->ipv6_hop = rt->rt_gw_family == AF_INET6;
			view->hop6 = &rt->rt_gw6;
		}
	} else if (skb->protocol == htons(ETH_P_IPV6)) {
		if (unlikely(!pskb_may_pull(skb, sizeof(struct ipv6hdr))))
			return false;
		skb_reset_network_header(skb);
		view->hop6 = &ipv6_hdr(skb)->daddr;
		view->multicast = ipv6_addr_is_multicast(view->hop6);
		view->ipv6 = true;
		view->ipv6_hop = true;
		route = ipeql_route(skb, AF_INET6);
		if (route)
			view->hop6 = rt6_nexthop(container_of(route, struct rt6_info, dst),
						 &ipv6_hdr(skb)->daddr);
	} else {
		return false;
	}
	if (skb_is_gso(skb))
		ipeql_look_at_train(skb, &view->packet);
	return true;
}
