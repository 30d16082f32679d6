/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Next hops on a slave. They are resolved by the kernel's own neighbour tables, which queue what
 * waits for an answer. When that comes the neighbour code asks the packet's route for its neighbour
 * (net/core/neighbour.c, neigh_update), and that would be the bundle: a packet has to have dropped
 * its route before it may wait.
 */
#ifndef IPEQL_NEIGHBOUR_H
#define IPEQL_NEIGHBOUR_H

#include "packet.h"
#include "table.h"

struct neighbour *ipeql_neighbour(const struct ipeql_row *row, const struct ipeql_view *view);
bool ipeql_neighbour_answers(struct neighbour *neighbour);

static inline bool ipeql_neighbour_is_valid(const struct neighbour *neighbour)
{
	return READ_ONCE(neighbour->nud_state) & NUD_VALID;
}

#endif
