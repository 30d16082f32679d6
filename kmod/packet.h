/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A packet as the methods and the neighbour tables need to see it. */
#ifndef IPEQL_PACKET_H
#define IPEQL_PACKET_H

#include <linux/skbuff.h>
#include <net/neighbour.h>

#include "ipeql_methods.h"

struct ipeql_view {
	struct ipeql_packet packet;
	bool multicast; /* to a group or to all: the method does not place it */
	bool ipv6;
	bool ipv6_hop; /* the next hop is an IPv6 one, be the packet IPv4 */
	__be32 hop; /* the gateway of the packet's route, else its destination */
	const struct in6_addr *hop6; /* the same of IPv6, in the route or the packet */
	struct neighbour *neighbour; /* on the slave that was chosen; NULL: not looked for */
};

bool ipeql_look(struct sk_buff *skb, struct ipeql_view *view);

#endif
