// SPDX-License-Identifier: GPL-2.0-or-later
#include "answer.h"

#include <linux/if_arp.h>
#include <linux/inetdevice.h>
#include <linux/ipv6.h>
#include <net/addrconf.h>
#include <net/arp.h>
#include <net/ip6_checksum.h>
#include <net/ipv6_stubs.h>
#include <net/ndisc.h>

/* What follows struct arphdr of IPv4 on Ethernet. */
struct ipeql_arp {
	u8 sender[ETH_ALEN];
	__be32 sender_ip;
	u8 target[ETH_ALEN];
	__be32 target_ip;
} __packed;

static bool ipeql_has_address4(const struct net_device *dev, __be32 address)
{
	const struct in_device *in_dev = __in_dev_get_rcu(dev);
	const struct in_ifaddr *own;

	if (!in_dev)
		return false;
	in_dev_for_each_ifa_rcu(own, in_dev)
		if (own->ifa_local == address)
			return true;
	return false;
}

/* Answer an ARP request for an address of the bundle; false where it is anything else. RCU. */
bool ipeql_answer_arp(const struct ipeql_slave *slave, struct sk_buff *skb)
{
	struct net_device *dev = slave->dev;
	const struct arphdr *header;
	const struct ipeql_arp *arp;

	if (dev->type != ARPHRD_ETHER || !netif_running(slave->bundle) ||
	    !pskb_may_pull(skb, sizeof(*header) + sizeof(*arp)))
		return false;
	header = (const struct arphdr *)skb->data;
	arp = (const struct ipeql_arp *)(header + 1);
	if (header->ar_op != htons(ARPOP_REQUEST) || header->ar_hrd != htons(ARPHRD_ETHER) ||
	    header->ar_pro != htons(ETH_P_IP) || header->ar_hln != ETH_ALEN ||
	    header->ar_pln != sizeof(__be32) || arp->sender_ip == arp->target_ip ||
	    !ipeql_has_address4(slave->bundle, arp->target_ip))
		return false;
	arp_send(ARPOP_REPLY, ETH_P_ARP, arp->sender_ip, dev, arp->target_ip, arp->sender,
		 dev->dev_addr, arp->sender);
	return true;
}

#if IS_ENABLED(CONFIG_IPV6)
/* Answer a neighbour solicitation for an address of the bundle; false where it is not one. RCU. */
bool ipeql_answer_solicitation(const struct ipeql_slave *slave, struct sk_buff *skb)
{
	const u32 length = sizeof(struct ipv6hdr) + sizeof(struct nd_msg);
	struct net_device *dev = slave->dev;
	const struct ipv6hdr *header;
	const struct nd_msg *message;
	bool probe;

	if (dev->type != ARPHRD_ETHER || !netif_running(slave->bundle) ||
	    !pskb_may_pull(skb, length))
		return false;
	header = (const struct ipv6hdr *)skb->data;
	message = (const struct nd_msg *)(header + 1);
	if (message->icmph.icmp6_type != NDISC_NEIGHBOUR_SOLICITATION || message->icmph.icmp6_code ||
	    header->hop_limit != 255 ||
	    !ipv6_chk_addr(dev_net(dev), &message->target, slave->bundle, 1) ||
	    csum_ipv6_magic(&header->saddr, &header->daddr, skb->len - sizeof(*header),
			    IPPROTO_ICMPV6,
			    skb_checksum(skb, sizeof(*header), skb->len - sizeof(*header), 0)))
		return false;
	/* Whoever has no address yet probes whether this one is free: all nodes hear that it is not. */
	probe = ipv6_addr_any(&header->saddr);
	ipv6_stub->ndisc_send_na(dev, probe ? &in6addr_linklocal_allnodes : &header->saddr,
				 &message->target, false, !probe, true, true);
	return true;
}
#endif
