// SPDX-License-Identifier: GPL-2.0-or-later
#include "neighbour.h"

#include <linux/ipv6.h>
#include <net/addrconf.h>
#include <net/ipv6.h>
#include <net/ndisc.h>
#include <net/route.h>

/* How long a neighbour that does not answer is left alone. */
#define IPEQL_RETRY HZ

/* Return the IPv6 neighbour that a packet goes to on a slave, or an ERR_PTR. RCU. */
struct neighbour *ipeql_neighbour6(const struct ipeql_row *row, const struct ipeql_view *view)
{
	if (unlikely(!ipv6_mod_enabled()))
		return ERR_PTR(-EAFNOSUPPORT);
	if (view->ipv6 && !ipv6_addr_any(&row->via6))
		return ip_neigh_gw6(row->dev, &row->via6);
	return ip_neigh_gw6(row->dev, view->hop6);
}

/*
 * Say whether a packet to the neighbour would leave at once. If not, it is being asked for, unless
 * it has failed to answer a moment ago.
 */
bool ipeql_neighbour_answers(struct neighbour *neighbour)
{
	u8 state;

	if (ipeql_neighbour_is_valid(neighbour))
		return true;
	if (IS_ERR(neighbour))
		return false;
	state = READ_ONCE(neighbour->nud_state);
	if (!(state & NUD_INCOMPLETE) &&
	    (!(state & NUD_FAILED) ||
	     time_after(jiffies, READ_ONCE(neighbour->updated) + IPEQL_RETRY)))
		neigh_event_send(neighbour, NULL);
	return false;
}
