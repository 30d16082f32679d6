/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Receiving for one bundle. The program runs at the ingress of every slave and lets go on from the
 * bundle's device what belongs to the bundle: what comes from where the bundle routes to and is not
 * for an address of the slave. docs/adr/0025-receiving.md has the reasons of each rule.
 *
 * What does not belong to the bundle is left to the programs and filters of others on the slave.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/types.h>
#include <linux/udp.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "answer.h"
#include "receiver.h"

#define UNREACHABLE 3 /* the errors of IPv4: RFC 792 */
#define TIME_EXCEEDED 11
#define PARAMETER_PROBLEM 12
#define ICMP_HEADER 8
#define INFORMATIONAL 128 /* from here on ICMPv6 messages are no errors: RFC 4443 */
#define MULTICAST_QUERY 130 /* from here to REDIRECT, and MULTICAST_REPORT: RFC 4861 and 3810 */
#define NEIGHBOUR_SOLICITATION 135
#define REDIRECT 137
#define MULTICAST_REPORT 143
#define DHCP_SERVER 67
#define DHCP_CLIENT 68

char LICENSE[] SEC("license") = "GPL";

/* A packet, as far as it is looked at. */
struct view {
	struct address source;
	struct address destination;
	__u32 payload; /* where the next header begins */
	__u8 protocol;
};

/* Return what the longest prefix says of an address; NOT_OURS: none fits. */
static __always_inline __u32 route_of(const struct address *address)
{
	struct source key = { .bits = 128 };
	__u32 *found;

	__builtin_memcpy(key.address, address, sizeof(key.address));
	found = bpf_map_lookup_elem(&sources, &key);
	return found ? *found : NOT_OURS;
}

static __always_inline bool is_link_local(const struct address *address)
{
	return (address->word[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

/* Return the place of the slave's counters where a packet belongs to the bundle, or NOT_OURS. */
static __noinline __u32 judge(__u32 ifindex, const struct address *source,
			      const struct address *destination)
{
	const struct member *member = bpf_map_lookup_elem(&members, &ifindex);

	if (!member || !source || !destination || is_local(ifindex, destination))
		return NOT_OURS;
	if (route_of(source) == 1 || (is_link_local(source) && is_local(ALL, destination)))
		return member->place;
	return NOT_OURS;
}

/* Return the destination of the packet that an ICMP error is about, in `to`; false: none. */
static __always_inline bool is_about(struct __sk_buff *skb, const struct view *view,
				     struct address *to)
{
	__u32 inner = view->payload + ICMP_HEADER;
	struct ipv6hdr ipv6;
	struct iphdr ipv4;
	__u8 type;

	if (bpf_skb_load_bytes(skb, view->payload, &type, sizeof(type)))
		return false;
	if (view->protocol == IPPROTO_ICMPV6) {
		if (type >= INFORMATIONAL || bpf_skb_load_bytes(skb, inner, &ipv6, sizeof(ipv6)))
			return false;
		__builtin_memcpy(to, &ipv6.daddr, sizeof(*to));
		return true;
	}
	if (view->protocol != IPPROTO_ICMP ||
	    (type != UNREACHABLE && type != TIME_EXCEEDED && type != PARAMETER_PROBLEM) ||
	    bpf_skb_load_bytes(skb, inner, &ipv4, sizeof(ipv4)))
		return false;
	*to = mapped(ipv4.daddr);
	return true;
}

static __always_inline bool is_of_the_link(struct __sk_buff *skb, const struct view *view)
{
	struct udphdr udp;
	__u8 type;

	if (view->protocol == IPPROTO_ICMPV6) {
		if (bpf_skb_load_bytes(skb, view->payload, &type, sizeof(type)))
			return false;
		return (type >= MULTICAST_QUERY && type <= REDIRECT) || type == MULTICAST_REPORT;
	}
	if (view->protocol != IPPROTO_UDP || bpf_skb_load_bytes(skb, view->payload, &udp, 4))
		return false;
	return udp.source == bpf_htons(DHCP_SERVER) && udp.dest == bpf_htons(DHCP_CLIENT);
}

/* The same as judge(), for ICMP and for packets to many: there more counts than the addresses. */
static __noinline __u32 judge_closely(struct __sk_buff *skb, struct view *view)
{
	__u32 ifindex = skb->ifindex;
	struct address about;

	if (!view || is_of_the_link(skb, view))
		return NOT_OURS;
	if (route_of(&view->source) == NOT_OURS && is_about(skb, view, &about))
		return judge(ifindex, &about, &view->destination);
	return judge(ifindex, &view->source, &view->destination);
}

/* Return the bytes of the headers that every packet of a train repeats. */
static __noinline __u32 repeated(struct __sk_buff *skb, struct view *view, __u32 network)
{
	__u8 length;

	if (!view)
		return 0;
	if (view->protocol == IPPROTO_UDP)
		return view->payload - network + sizeof(struct udphdr);
	if (view->protocol != IPPROTO_TCP ||
	    bpf_skb_load_bytes(skb, view->payload + 12, &length, sizeof(length)))
		return view->payload - network;
	return view->payload - network + (length >> 4) * 4;
}

static __always_inline __u32 place_in_cache(const struct address *source,
					    const struct address *destination, __u32 ifindex)
{
	/* A flow arrives on many slaves: it has a place for each. */
	__u32 mix = source->word[3] ^ destination->word[3] ^ source->word[1] ^ source->word[0] ^
		    ifindex;

	return mix * 0x9e3779b1U >> 26; /* Knuth's multiplicative hashing; VERDICTS is 2^6 */
}

/* Fill in the view; -1: it is no IP packet. `header`: the bytes before the packet. */
static __always_inline int look_at(struct __sk_buff *skb, struct view *view, __u32 header)
{
	const void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		const struct iphdr *ip = data + header;

		if ((void *)(ip + 1) > end)
			return -1;
		view->source = mapped(ip->saddr);
		view->destination = mapped(ip->daddr);
		view->protocol = ip->protocol;
		view->payload = header + ip->ihl * 4;
		return 0;
	}
	if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		const struct ipv6hdr *ip = data + header;

		if ((void *)(ip + 1) > end)
			return -1;
		__builtin_memcpy(&view->source, &ip->saddr, sizeof(view->source));
		__builtin_memcpy(&view->destination, &ip->daddr, sizeof(view->destination));
		view->protocol = ip->nexthdr;
		view->payload = header + sizeof(*ip);
		return 0;
	}
	return -1;
}

/*
 * Give the packet to the bundle's device. A macvlan takes every frame that arrives below it and that
 * is not to a group; other devices take what is to their own address.
 */
static __always_inline int hand_over(struct __sk_buff *skb, const struct receiver *to,
				     __u32 header)
{
	__u32 zero = 0, *device = bpf_map_lookup_elem(&target, &zero);
	struct ethhdr link = { .h_proto = skb->protocol };

	if (!device)
		return TC_ACT_UNSPEC;
	if (header) {
		if ((skb->pkt_type || to->rewrite) &&
		    bpf_skb_store_bytes(skb, 0, to->mac, ETH_ALEN, 0))
			return TC_ACT_UNSPEC;
	} else if (to->header) {
		__builtin_memcpy(link.h_dest, to->mac, ETH_ALEN);
		if (bpf_skb_change_head(skb, ETH_HLEN, 0))
			return TC_ACT_UNSPEC;
		if (bpf_skb_store_bytes(skb, 0, &link, ETH_HLEN, 0))
			return TC_ACT_SHOT;
	}
	skb->cb[0] = 0; /* what `stripe` leaves there for `resolve`, which may run at the device */
	return bpf_redirect(*device, BPF_F_INGRESS);
}

/* Receive a packet of any kind. */
static __noinline int receive_any(struct __sk_buff *skb, struct lane *lane,
				  const struct receiver *known, __u32 header)
{
	__u32 place, ifindex = skb->ifindex;
	struct counters *counters;
	struct verdict *last;
	struct view view;

	if (skb->pkt_type > PACKET_MULTICAST || skb->vlan_present)
		return TC_ACT_UNSPEC;
	if (look_at(skb, &view, header)) {
		if (header && skb->protocol == bpf_htons(ETH_P_ARP))
			return answer_arp(skb);
		if (bpf_skb_pull_data(skb, header + sizeof(struct ipv6hdr)) ||
		    look_at(skb, &view, header))
			return TC_ACT_UNSPEC;
	}
	if (skb->pkt_type || view.protocol == IPPROTO_ICMP || view.protocol == IPPROTO_ICMPV6) {
		__u8 type;

		if (header && view.protocol == IPPROTO_ICMPV6 &&
		    !bpf_skb_load_bytes(skb, view.payload, &type, sizeof(type)) &&
		    type == NEIGHBOUR_SOLICITATION)
			return answer_solicitation(skb);
		place = judge_closely(skb, &view);
	} else {
		__u64 epoch = *(volatile __u64 *)&known->epoch;

		last = &lane->verdict[place_in_cache(&view.source, &view.destination, ifindex) %
				      VERDICTS];
		if (last->epoch != epoch || last->ifindex != ifindex ||
		    !is_same(&last->source, &view.source) ||
		    !is_same(&last->destination, &view.destination)) {
			last->place = judge(ifindex, &view.source, &view.destination);
			last->source = view.source;
			last->destination = view.destination;
			last->ifindex = ifindex;
			last->epoch = epoch;
		}
		place = last->place;
	}
	if (place >= MAX_SLAVES)
		return TC_ACT_UNSPEC;
	counters = &lane->counters[place];
	if (skb->gso_size) {
		/* Not everybody who makes a train says of how many packets (SKB_GSO_DODGY). */
		__u32 headers = repeated(skb, &view, header);
		__u32 more = (skb->len - header - headers - 1) / skb->gso_size;

		counters->packets += more;
		counters->bytes += more * headers;
	}
	counters->packets++;
	counters->bytes += skb->len - header;
	return hand_over(skb, known, header);
}

/* Most packets end here: of IPv4, of one segment, with a verdict. */
static __always_inline int receive_packet(struct __sk_buff *skb, __u32 header)
{
	const struct iphdr *ip = (void *)(long)skb->data + header;
	__u32 zero = 0;
	struct receiver *known = bpf_map_lookup_elem(&receiver, &zero);
	struct lane *lane = bpf_map_lookup_elem(&lanes, &zero);
	struct address source, destination;
	struct counters *counters;
	const struct verdict *last;

	if (!known || !lane)
		return TC_ACT_UNSPEC;
	if (skb->protocol != bpf_htons(ETH_P_IP) || skb->pkt_type || skb->vlan_present ||
	    (void *)(ip + 1) > (void *)(long)skb->data_end || ip->protocol == IPPROTO_ICMP ||
	    skb->gso_size)
		return receive_any(skb, lane, known, header);
	source = mapped(ip->saddr);
	destination = mapped(ip->daddr);
	last = &lane->verdict[place_in_cache(&source, &destination, skb->ifindex) % VERDICTS];
	if (last->epoch != known->epoch || last->ifindex != skb->ifindex ||
	    !is_same(&last->source, &source) || !is_same(&last->destination, &destination))
		return receive_any(skb, lane, known, header);
	if (last->place >= MAX_SLAVES)
		return TC_ACT_UNSPEC;
	counters = &lane->counters[last->place];
	counters->packets++;
	counters->bytes += skb->len - header;
	return hand_over(skb, known, header);
}

/* At the ingress of an Ethernet link. */
SEC("tc")
int receive(struct __sk_buff *skb)
{
	return receive_packet(skb, ETH_HLEN);
}

/* At the ingress of a link without a link header. */
SEC("tc")
int receive_bare(struct __sk_buff *skb)
{
	return receive_packet(skb, 0);
}
