/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Next hops on a slave. They are resolved by the kernel's own neighbour tables, which queue what
 * waits for an answer. When that comes the neighbour code asks the packet's route for its neighbour
 * (net/core/neighbour.c, neigh_update), and that would be the bundle: a packet has to have dropped
 * its route before it may wait.
 */
#ifndef IPEQL_NEIGHBOUR_H
#define IPEQL_NEIGHBOUR_H

#include <net/arp.h>

#include "packet.h"
#include "table.h"

struct neighbour *ipeql_neighbour6(const struct ipeql_row *row, const struct ipeql_view *view);
bool ipeql_neighbour_answers(struct neighbour *neighbour);

/*
 * Return the neighbour that a packet goes to on a slave, an ERR_PTR where its table has no place or
 * its protocol is not on that link. RCU.
 */
static __always_inline struct neighbour *ipeql_neighbour(const struct ipeql_row *row,
							 const struct ipeql_view *view)
{
	if (!view->ipv6 && row->via)
		return ip_neigh_gw4(row->dev, row->via);
	if (view->ipv6_hop)
		return ipeql_neighbour6(row, view);
	return ip_neigh_gw4(row->dev, view->hop);
}

static inline bool ipeql_neighbour_is_valid(const struct neighbour *neighbour)
{
	return !IS_ERR(neighbour) && READ_ONCE(neighbour->nud_state) & NUD_VALID;
}

#endif
