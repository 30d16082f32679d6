/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers to whoever asks on a slave for the link address of one of the bundle's addresses. */
#ifndef IPEQL_ANSWER_H
#define IPEQL_ANSWER_H

#include "receiver.h"

#define ARP_REQUEST 1
#define ARP_REPLY 2
#define NEIGHBOUR_ADVERTISEMENT 136
#define TARGET_ADDRESS 2 /* the option, RFC 4861, 4.6.1 */
#define SOLICITED 0x40000000
#define OVERRIDE 0x20000000

struct arp {
	struct ethhdr link;
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_length;
	__u8 protocol_length;
	__be16 operation;
	__u8 sender_mac[ETH_ALEN];
	__be32 sender;
	__u8 asked_mac[ETH_ALEN];
	__be32 asked;
} __attribute__((packed));

struct discovery {
	struct ethhdr link;
	struct ipv6hdr ip;
	__u8 type;
	__u8 code;
	__sum16 checksum;
	__be32 flags;
	struct in6_addr target;
	__u8 option;
	__u8 option_length; /* in 8 bytes */
	__u8 mac[ETH_ALEN];
} __attribute__((packed));

#define SOLICITATION (__builtin_offsetof(struct discovery, option))

static __always_inline bool is_local(__u32 ifindex, const struct address *address)
{
	struct local key = { .ifindex = ifindex, .address = *address };

	return bpf_map_lookup_elem(&locals, &key);
}

/* Return the slave that has to answer for an address, 0: it is not the bundle's. */
static __always_inline const struct member *answering(const struct __sk_buff *skb,
						      const struct address *asked)
{
	__u32 ifindex = skb->ifindex;

	if (!is_local(ALL, asked) || is_local(ifindex, asked))
		return 0;
	return bpf_map_lookup_elem(&members, &ifindex);
}

/* Answer an ARP request, also one that asks whether the address is taken (RFC 5227). */
static __noinline int answer_arp(struct __sk_buff *skb)
{
	const struct member *member;
	struct address asked;
	struct arp arp;

	if (bpf_skb_load_bytes(skb, 0, &arp, sizeof(arp)) ||
	    arp.operation != bpf_htons(ARP_REQUEST) || arp.hardware != bpf_htons(1) ||
	    arp.protocol != bpf_htons(ETH_P_IP) || arp.hardware_length != ETH_ALEN ||
	    arp.protocol_length != 4 || arp.sender == arp.asked)
		return TC_ACT_UNSPEC;
	asked = mapped(arp.asked);
	member = answering(skb, &asked);
	if (!member)
		return TC_ACT_UNSPEC;
	__builtin_memcpy(arp.link.h_dest, arp.link.h_source, ETH_ALEN);
	__builtin_memcpy(arp.link.h_source, member->mac, ETH_ALEN);
	arp.operation = bpf_htons(ARP_REPLY);
	arp.asked = arp.sender;
	__builtin_memcpy(arp.asked_mac, arp.sender_mac, ETH_ALEN);
	arp.sender = asked.word[3];
	__builtin_memcpy(arp.sender_mac, member->mac, ETH_ALEN);
	if (bpf_skb_store_bytes(skb, 0, &arp, sizeof(arp), BPF_F_RECOMPUTE_CSUM))
		return TC_ACT_UNSPEC;
	return bpf_redirect(skb->ifindex, 0);
}

static __always_inline __sum16 folded(__s64 sum)
{
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32 & 0xffff);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__sum16)~sum;
}

/*
 * Answer a neighbour solicitation. One from :: asks whether the address is taken; all nodes get the
 * answer then (RFC 4861, 7.2.4).
 */
static __noinline int answer_solicitation(struct __sk_buff *skb)
{
	const __u32 size = sizeof(struct discovery) - __builtin_offsetof(struct discovery, type);
	struct discovery packet = {};
	const struct member *member;
	struct address asked;
	__s64 sum;

	if (bpf_skb_load_bytes(skb, 0, &packet, SOLICITATION) || packet.code ||
	    packet.ip.hop_limit != 255)
		return TC_ACT_UNSPEC;
	__builtin_memcpy(&asked, &packet.target, sizeof(asked));
	member = answering(skb, &asked);
	if (!member || bpf_skb_change_tail(skb, sizeof(packet), 0))
		return TC_ACT_UNSPEC;
	packet.flags = bpf_htonl(SOLICITED | OVERRIDE);
	__builtin_memcpy(packet.link.h_dest, packet.link.h_source, ETH_ALEN);
	packet.ip.daddr = packet.ip.saddr;
	if (!(packet.ip.saddr.s6_addr32[0] | packet.ip.saddr.s6_addr32[1] |
	      packet.ip.saddr.s6_addr32[2] | packet.ip.saddr.s6_addr32[3])) {
		packet.flags = bpf_htonl(OVERRIDE);
		__builtin_memcpy(packet.link.h_dest, (__u8[]){ 0x33, 0x33, 0, 0, 0, 1 }, ETH_ALEN);
		packet.ip.daddr.s6_addr32[0] = bpf_htonl(0xff020000);
		packet.ip.daddr.s6_addr32[3] = bpf_htonl(1);
	}
	__builtin_memcpy(packet.link.h_source, member->mac, ETH_ALEN);
	packet.ip.saddr = packet.target;
	packet.ip.payload_len = bpf_htons(size);
	packet.type = NEIGHBOUR_ADVERTISEMENT;
	packet.checksum = 0;
	packet.option = TARGET_ADDRESS;
	packet.option_length = 1;
	__builtin_memcpy(packet.mac, member->mac, ETH_ALEN);
	sum = bpf_csum_diff(0, 0, (void *)&packet.ip.saddr, 2 * sizeof(struct in6_addr),
			    bpf_htonl(size) + bpf_htonl(IPPROTO_ICMPV6));
	sum = bpf_csum_diff(0, 0, (void *)&packet.type, size, sum);
	packet.checksum = folded(sum);
	/* Past the change of its size it is not the question any more. */
	if (bpf_skb_store_bytes(skb, 0, &packet, sizeof(packet), BPF_F_RECOMPUTE_CSUM))
		return TC_ACT_SHOT;
	return bpf_redirect(skb->ifindex, 0);
}

#endif
