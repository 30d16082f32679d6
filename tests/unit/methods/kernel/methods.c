/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The module's arithmetic and methods as a shared library. */
#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#include "../../../../kernel/module/derive.c"

void derive(struct ipeql_parameters *parameters, const struct ipeql_given *given)
{
	ipeql_derive(parameters, given);
}

/* As a dataplane does. `queues` is `state` where that has virtual queues. */
u32 place(const struct ipeql_parameters *parameters, struct ipeql_state *state,
	  struct ipeql_state *queues, u64 *bucket, u32 usable, struct ipeql_packet *packet)
{
	u32 candidates, found;

	if (!parameters->ruled)
		return ipeql_pick(parameters, state, ipeql_allow(parameters, usable, packet),
				  packet);
	candidates = ipeql_rule(parameters, queues, bucket, usable, packet);
	found = ipeql_pick(parameters, state, candidates, packet);
	ipeql_note(parameters, queues, bucket, found, packet);
	return found;
}

void inherit(const struct ipeql_parameters *parameters, struct ipeql_state *state,
	     const struct ipeql_parameters *before, const struct ipeql_state *old,
	     const u32 *origin)
{
	ipeql_inherit(parameters, state, before, old, origin);
}

void move(const struct ipeql_parameters *parameters, u64 *buckets, const u32 *origin)
{
	ipeql_move_flows(parameters, buckets, origin);
}
