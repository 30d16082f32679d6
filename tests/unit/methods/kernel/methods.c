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

u32 pick(const struct ipeql_parameters *parameters, struct ipeql_state *state, u32 usable,
	 struct ipeql_packet *packet)
{
	return ipeql_pick(parameters, state, usable, packet);
}

void inherit(const struct ipeql_parameters *parameters, struct ipeql_state *state,
	     const struct ipeql_parameters *before, const struct ipeql_state *old,
	     const u32 *origin)
{
	ipeql_inherit(parameters, state, before, old, origin);
}
