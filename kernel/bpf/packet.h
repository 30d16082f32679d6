/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What counts of a packet: its size, where it goes. */
#ifndef IPEQL_PACKET_H
#define IPEQL_PACKET_H

#include "bundle.h"
#include "kernel.h"

#define AF_INET 2
#define AF_INET6 10

/* The network namespace of the bundle; found by `locate`. */
struct net *home;

/* Whether IPv4 routes change unseen, or rules look at more than a packet's destination. */
bool routes_vary = true;

/*
 * Set for the differential test alone: the clock is the packet's tstamp, the set to choose from
 * stands in cb, as does the choice afterwards, and the slaves' queues, 4 bits each. The time to leave
 * stands in tstamp afterwards.
 */
const volatile bool injected = false;

static __always_inline void inject(const struct __sk_buff *skb, struct ipeql_packet *packet)
{
	__u32 queues[] = { skb->cb[1], skb->cb[2], skb->cb[3], skb->cb[4] };

	packet->now = skb->tstamp;
	for (__u32 i = 0; i < IPEQL_MAX_SLAVES; i++)
		packet->queued[i] = queues[i / 8] >> i % 8 * 4 & 15;
}

/* Say whether the link address follows from the destination, so that no neighbour is asked. */
static __always_inline bool is_to_many(const struct view *view)
{
	return view->group || view->broadcast;
}

/* Return the bytes of the transport header that every segment of a train repeats. */
static __always_inline __u32 transport_header(struct __sk_buff *skb, __u32 offset, __u8 protocol)
{
	__u8 length;

	if (protocol == IPPROTO_UDP)
		return 8;
	if (protocol != IPPROTO_TCP || bpf_skb_load_bytes(skb, offset + 12, &length, 1))
		return 0;
	return (length >> 4) * 4;
}

static __always_inline bool is_group(__be32 ipv4)
{
	return bpf_ntohl(ipv4) >= 0xe0000000;
}

static __always_inline int look_at_ipv4(struct __sk_buff *skb, const struct iphdr *ip,
					struct ipeql_packet *packet, struct view *view)
{
	__u32 length = ip->ihl * 4;

	view->ipv6 = 0;
	view->destination = mapped(ip->daddr);
	view->group = is_group(ip->daddr);
	view->protocol = ip->protocol;
	packet->dscp = ip->tos >> 2;
	if (packet->segments > 1)
		packet->header =
			length + transport_header(skb, ETH_HLEN + length, ip->protocol);
	return 0;
}

static __always_inline int look_at_ipv6(struct __sk_buff *skb, const struct ipv6hdr *ip,
					struct ipeql_packet *packet, struct view *view)
{
	view->ipv6 = 1;
	__builtin_memcpy(&view->destination, &ip->daddr, sizeof(view->destination));
	view->group = ip->daddr.s6_addr[0] == 0xff;
	view->protocol = ip->nexthdr;
	packet->dscp = ip->priority << 2 | ip->flow_lbl[0] >> 6;
	if (packet->segments > 1)
		packet->header =
			sizeof(*ip) + transport_header(skb, ETH_HLEN + sizeof(*ip), ip->nexthdr);
	return 0;
}

#define LONGEST_ACK 160 /* bytes: 60 of IPv4 and 60 of TCP, and what IPv6 adds */
#define TCP_OFFSET 12   /* where a TCP header has its length and its flags */
#define TCP_FIN_SYN_RST 7

static __always_inline bool is_extension(__u8 next)
{
	return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS;
}

/* Say whether ICMP of a type, or ICMPv6, is an echo or its reply. */
static __always_inline bool is_echo(__u8 protocol, __u8 type)
{
	return protocol == IPPROTO_ICMP ? !(type & ~8) : type >> 1 == 64;
}

/* Say whether it may be light: is_light() costs more. */
static __always_inline bool may_be_light(const struct ipeql_packet *packet, const struct view *view)
{
	if (view->protocol == IPPROTO_ICMP || view->protocol == IPPROTO_ICMPV6)
		return true;
	return packet->length <= LONGEST_ACK &&
	       (view->protocol == IPPROTO_TCP || is_extension(view->protocol));
}

/* Say whether a packet is an ICMP echo or a TCP segment that carries nothing (docs/methods.md). */
__noinline int is_light(struct __sk_buff *skb)
{
	__u32 length = skb->len - ETH_HLEN, at = sizeof(struct ipv6hdr);
	struct iphdr ip;
	__u8 next = IPPROTO_NONE, bytes[2];

	if (skb->gso_segs > 1)
		return 0;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
			return 0;
		next = ip.protocol;
		at = ip.ihl * 4;
		if (ip.frag_off & bpf_htons(0x3fff))
			return 0;
	} else {
		bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, nexthdr), &next, 1);
		for (__u32 i = 0; i < LONGEST_ACK / 8 && length <= LONGEST_ACK; i++) {
			if (!is_extension(next))
				break;
			if (bpf_skb_load_bytes(skb, ETH_HLEN + at, bytes, sizeof(bytes)))
				return 0;
			next = bytes[0];
			at += 8 + bytes[1] * 8;
		}
	}
	if (next == IPPROTO_ICMP || next == IPPROTO_ICMPV6)
		return !bpf_skb_load_bytes(skb, ETH_HLEN + at, bytes, 1) && is_echo(next, bytes[0]);
	if (length > LONGEST_ACK || next != IPPROTO_TCP || at + 20 > length ||
	    bpf_skb_load_bytes(skb, ETH_HLEN + at + TCP_OFFSET, bytes, sizeof(bytes)))
		return 0;
	return at + (bytes[0] >> 4) * 4 == length && !(bytes[1] & TCP_FIN_SYN_RST);
}

/* Fill in what a decision needs, but for the clock; -1: not an IP packet. */
static __always_inline int look_at(struct __sk_buff *skb, struct ipeql_packet *packet,
				   struct view *view)
{
	const void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	union {
		struct iphdr ipv4;
		struct ipv6hdr ipv6;
	} copy;

	packet->length = skb->len - ETH_HLEN;
	packet->segments = skb->gso_segs > 1 ? skb->gso_segs : 1;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if (data + ETH_HLEN + sizeof(copy.ipv4) <= end)
			return look_at_ipv4(skb, data + ETH_HLEN, packet, view);
		if (!bpf_skb_load_bytes(skb, ETH_HLEN, &copy.ipv4, sizeof(copy.ipv4)))
			return look_at_ipv4(skb, &copy.ipv4, packet, view);
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		if (data + ETH_HLEN + sizeof(copy.ipv6) <= end)
			return look_at_ipv6(skb, data + ETH_HLEN, packet, view);
		if (!bpf_skb_load_bytes(skb, ETH_HLEN, &copy.ipv6, sizeof(copy.ipv6)))
			return look_at_ipv6(skb, &copy.ipv6, packet, view);
	}
	return -1;
}

/* The part of an IPv4 route from its flags on. */
struct route {
	__u8 bytes[40];
};
#define AFTER_FLAGS(member)                                                                        \
	(bpf_core_field_offset(struct rtable, member) -                                            \
	 bpf_core_field_offset(struct rtable, rt_flags))

/*
 * Find the gateway of the route that the packet carries.
 */
static __always_inline void find_gateway(struct __sk_buff *skb, struct view *view)
{
	unsigned long route;
	struct route ipv4;
	__u8 family;

	view->routed = 1;
	view->broadcast = 0;
	view->gateway = view->destination;
	route = load_kernel(sk_buff, skb, _skb_refdst) & ~1UL; /* SKB_DST_NOREF */
	if (!route)
		return;
	if (view->ipv6) {
		if (load_kernel(rt6_info, route, rt6i_flags) & RTF_GATEWAY)
			read_kernel(&view->gateway, rt6_info, route, rt6i_gateway);
		return;
	}
	/* In one go: a call for each member would cost more than all of them. */
	read_kernel(&ipv4, rtable, route, rt_flags);
	view->broadcast = *(__u32 *)ipv4.bytes & RTCF_BROADCAST;
	family = ipv4.bytes[AFTER_FLAGS(rt_gw_family)];
	if (family == AF_INET6)
		__builtin_memcpy(&view->gateway, ipv4.bytes + AFTER_FLAGS(rt_gw6),
				 sizeof(view->gateway));
	else if (family == AF_INET)
		view->gateway = mapped(*(__be32 *)(ipv4.bytes + AFTER_FLAGS(rt_gw4)));
}

SEC("fexit/rt_cache_flush")
int BPF_PROG(routes_changed, struct net *net)
{
	if (net != home)
		return 0;
	routes_vary = net->ipv4.fib_has_custom_rules;
	note_change();
	return 0;
}

#endif
