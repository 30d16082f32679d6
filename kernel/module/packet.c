// SPDX-License-Identifier: GPL-2.0-or-later
#include "packet.h"

#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <net/ip6_route.h>
#include <net/ipv6.h>

/* Count the wire packets of a train, and the bytes that each of them repeats. */
void ipeql_look_at_train(const struct sk_buff *skb, struct ipeql_view *view)
{
	const struct skb_shared_info *shared = skb_shinfo(skb);
	u32 header = skb->encapsulation ? skb_inner_transport_offset(skb) :
					  skb_transport_offset(skb);

	if (shared->gso_segs <= 1)
		return;
	if (shared->gso_type & (SKB_GSO_TCPV4 | SKB_GSO_TCPV6))
		header += skb->encapsulation ? inner_tcp_hdrlen(skb) : tcp_hdrlen(skb);
	else if (shared->gso_type & SKB_GSO_UDP_L4)
		header += sizeof(struct udphdr);
	view->segments = shared->gso_segs;
	view->header = header;
}

/* Look at a packet that is not IPv4; false where it is not IPv6 either. */
bool ipeql_look_at_ipv6(struct sk_buff *skb, struct ipeql_view *view)
{
	const struct dst_entry *route;

	if (skb->protocol != htons(ETH_P_IPV6) || !pskb_may_pull(skb, sizeof(struct ipv6hdr)))
		return false;
	skb_reset_network_header(skb);
	view->ipv6 = true;
	view->ipv6_hop = true;
	view->hop6 = &ipv6_hdr(skb)->daddr;
	view->multicast = ipv6_addr_is_multicast(view->hop6);
	route = ipeql_route(skb, AF_INET6);
	if (route)
		view->hop6 = rt6_nexthop(container_of(route, struct rt6_info, dst), view->hop6);
	return true;
}
