// SPDX-License-Identifier: GPL-2.0-or-later
#include "receive.h"

#include <linux/if_arp.h>
#include <linux/icmpv6.h>
#include <linux/if_vlan.h>
#include <linux/ipv6.h>
#include <linux/rtnetlink.h>
#include <net/ndisc.h>

#include "answer.h"
#include "compat.h"
#include "packet.h"
#include "verdict.h"

/*
 * Let a packet go on as if it had arrived on the bundle, which has no link header. What GRO has put
 * together stays so.
 */
static __always_inline rx_handler_result_t ipeql_take(const struct ipeql_slave *slave,
						      struct sk_buff *skb)
{
	struct ipeql_view view ipeql_filled_in;

	view.length = skb->len;
	view.segments = 1;
	view.header = 0;
	if (skb_is_gso(skb))
		ipeql_look_at_train(skb, &view);
	ipeql_count_received(slave->counters, view.segments, ipeql_wire_bytes(&view));
	skb->dev = slave->bundle;
	skb_reset_mac_header(skb);
	skb->mac_len = 0;
	return RX_HANDLER_ANOTHER;
}

static rx_handler_result_t ipeql_receive4(const struct ipeql_slave *slave, struct sk_buff *skb)
{
	if (unlikely(!pskb_may_pull(skb, sizeof(struct iphdr))))
		return RX_HANDLER_PASS;
	if (!ipeql_is_bundles4(slave, (const struct iphdr *)skb->data))
		return RX_HANDLER_PASS;
	return ipeql_take(slave, skb);
}

/* Say whether a packet is about neighbours or routers, and so about the link that it came by. */
static bool ipeql_is_discovery(struct sk_buff *skb)
{
	const unsigned int length = sizeof(struct ipv6hdr) + sizeof(struct icmp6hdr);
	const struct icmp6hdr *message;

	if (((const struct ipv6hdr *)skb->data)->nexthdr != IPPROTO_ICMPV6 ||
	    !pskb_may_pull(skb, length))
		return false;
	message = (const struct icmp6hdr *)(skb->data + sizeof(struct ipv6hdr));
	return message->icmp6_type >= NDISC_ROUTER_SOLICITATION &&
	       message->icmp6_type <= NDISC_REDIRECT;
}

static rx_handler_result_t ipeql_receive6(const struct ipeql_slave *slave, struct sk_buff *skb)
{
	const struct ipv6hdr *header;

	if (unlikely(!ipv6_mod_enabled() || !pskb_may_pull(skb, sizeof(*header))))
		return RX_HANDLER_PASS;
	if (ipeql_is_discovery(skb)) {
		if (!ipeql_answer_solicitation(slave, skb))
			return RX_HANDLER_PASS;
		consume_skb(skb);
		return RX_HANDLER_CONSUMED;
	}
	header = (const struct ipv6hdr *)skb->data;
	if (!ipeql_is_bundles6(slave, &header->saddr, &header->daddr))
		return RX_HANDLER_PASS;
	return ipeql_take(slave, skb);
}

static rx_handler_result_t ipeql_receive(struct sk_buff **pskb)
{
	const struct ipeql_slave *slave = rcu_dereference((*pskb)->dev->rx_handler_data);
	struct sk_buff *skb = *pskb;

	/* To another station; or to a group, and looped back. */
	if (unlikely(skb->pkt_type > PACKET_MULTICAST || skb_vlan_tag_present(skb)))
		return RX_HANDLER_PASS;
	skb = skb_share_check(skb, GFP_ATOMIC);
	if (unlikely(!skb))
		return RX_HANDLER_CONSUMED;
	*pskb = skb;
	switch (skb->protocol) {
	case htons(ETH_P_IP):
		return ipeql_receive4(slave, skb);
	case htons(ETH_P_IPV6):
		return ipeql_receive6(slave, skb);
	case htons(ETH_P_ARP):
		if (!ipeql_answer_arp(slave, skb))
			return RX_HANDLER_PASS;
		consume_skb(skb);
		return RX_HANDLER_CONSUMED;
	}
	return RX_HANDLER_PASS;
}

/*
 * Let what arrives on a slave be the bundle's where it belongs to that, or leave it all with the
 * slave. A device has one such handler: where it has another's, it keeps all. The slave's link hears
 * every group meanwhile, since those that the bundle joins are in no link's filter. RTNL.
 */
void ipeql_receive_by(struct ipeql_slave *slave, bool bundle)
{
	struct net_device *dev = slave->dev;

	ASSERT_RTNL();
	if (slave->receives == bundle)
		return;
	if (!bundle) {
		netdev_rx_handler_unregister(dev); /* which waits for packets under way */
		if (slave->hears_all)
			dev_set_allmulti(dev, -1);
		slave->receives = slave->hears_all = false;
		return;
	}
	if (netdev_rx_handler_register(dev, ipeql_receive, slave)) {
		netdev_notice(slave->bundle, "%s keeps what it receives: another device takes it\n",
			      dev->name);
		return;
	}
	slave->receives = true;
	slave->hears_all = dev->type == ARPHRD_ETHER && !dev_set_allmulti(dev, 1);
}
