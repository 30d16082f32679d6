// SPDX-License-Identifier: GPL-2.0-or-later
/* The tests compile this file in user space too, with a linux/math64.h of their own. */
#include "derive.h"

#include <linux/math64.h>

#define IPEQL_WEIGHT_SHIFT 16
/* A decay of more bits than this is any priority's end: those have 2 x 17 + 5 at most. */
#define IPEQL_DECAY_MAX (1ULL << 45)

/* Order the slaves by lag, or as listed unless every slave gives one; stable. */
static void ipeql_order(struct ipeql_parameters *parameters, const struct ipeql_given *given)
{
	bool by_lag = true;
	u32 i, k;

	for (i = 0; i < parameters->count; i++)
		by_lag &= given[i].has_lag;
	for (i = 0; i < parameters->count; i++) {
		for (k = i; by_lag && k; k--) {
			if (given[parameters->order[k - 1]].path.lag <= given[i].path.lag)
				break;
			parameters->order[k] = parameters->order[k - 1];
		}
		parameters->order[by_lag ? k : i] = i;
	}
}

/*
 * Set what the methods need from what is given, and from the parameters that are: the divisions of
 * docs/methods.md, Terms, so that no packet does one.
 */
void ipeql_derive(struct ipeql_parameters *parameters, const struct ipeql_given *given)
{
	u64 unit = parameters->count_packets ? IPEQL_BITS_NS * IPEQL_PACKET : IPEQL_BITS_NS;
	u64 interval = parameters->poll_interval, total = 0;
	u32 i;

	parameters->every = (1ULL << parameters->count) - 1;
	parameters->timed = true;
	for (i = 0; i < parameters->count; i++)
		parameters->timed &= given[i].bandwidth && given[i].has_lag;
	parameters->ruled = parameters->flows || parameters->when_full || parameters->when_down ||
			    parameters->light_dscps || parameters->duplicate_dscps ||
			    parameters->method == IPEQL_DUPLICATE;
	ipeql_order(parameters, given);
	for (i = 0; i < parameters->count; i++)
		total += given[i].bandwidth;
	for (i = 0; i < parameters->count; i++) {
		struct ipeql_path *path = &parameters->path[i];
		u64 bandwidth = given[i].bandwidth, share, quotient;

		*path = given[i].path;
		if (!bandwidth)
			continue;
		share = div64_u64(bandwidth << IPEQL_WEIGHT_SHIFT, total);
		quotient = mul_u64_u64_div_u64(bandwidth, interval, unit);
		path->nspb = div64_u64(IPEQL_BITS_NS << IPEQL_NSPB_SHIFT, bandwidth);
		path->weight = share ? share : 1;
		path->decay_remainder = bandwidth * interval - quotient * unit; /* modulo 2^64 */
		path->decay_quotient = quotient < IPEQL_DECAY_MAX ? quotient : IPEQL_DECAY_MAX;
	}
}
