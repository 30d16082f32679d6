// SPDX-License-Identifier: GPL-2.0-or-later
#include "packet.h"

#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <net/ip.h>
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

/* Return where what follows an IPv6 packet's options begins, and its protocol. */
static int ipeql_skip_options(const struct sk_buff *skb, const struct ipeql_view *view, u8 *next)
{
	int at = sizeof(struct ipv6hdr);

	*next = ipv6_hdr(skb)->nexthdr;
	if (view->length > IPEQL_LONGEST_ACK)
		return at;
	while (*next == NEXTHDR_HOP || *next == NEXTHDR_ROUTING || *next == NEXTHDR_DEST) {
		const struct ipv6_opt_hdr *option;
		struct ipv6_opt_hdr copy;

		option = skb_header_pointer(skb, at, sizeof(copy), &copy);
		if (!option)
			return 0;
		*next = option->nexthdr;
		at += ipv6_optlen(option);
	}
	return at;
}

static bool ipeql_echoes(const struct sk_buff *skb, int at, u8 protocol)
{
	const u8 *type;
	u8 copy;

	type = skb_header_pointer(skb, at, sizeof(copy), &copy);
	if (!type)
		return false;
	if (protocol == IPPROTO_ICMP)
		return *type == ICMP_ECHO || *type == ICMP_ECHOREPLY;
	return *type == ICMPV6_ECHO_REQUEST || *type == ICMPV6_ECHO_REPLY;
}

/* Say whether a packet that may be light is an ICMP echo or a pure acknowledgement. */
bool ipeql_is_light_inside(const struct sk_buff *skb, const struct ipeql_view *view)
{
	const struct tcphdr *tcp;
	struct tcphdr copy;
	u8 protocol;
	int at;

	if (view->ipv6) {
		at = ipeql_skip_options(skb, view, &protocol);
	} else {
		at = ip_is_fragment(ip_hdr(skb)) ? 0 : ip_hdrlen(skb);
		protocol = ip_hdr(skb)->protocol;
	}
	if (!at)
		return false;
	if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6)
		return ipeql_echoes(skb, at, protocol);
	tcp = protocol == IPPROTO_TCP ? skb_header_pointer(skb, at, sizeof(copy), &copy) : NULL;
	return tcp && at + tcp->doff * 4 == view->length && !tcp->syn && !tcp->fin && !tcp->rst;
}
