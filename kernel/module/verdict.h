/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whose a packet is that arrives on a slave. It is the bundle's if the bundle routes to its source,
 * and its destination is not an address of the slave itself. The routing table is asked, so routes
 * that anybody adds count at once; what it says is remembered for each CPU until the next tick.
 */
#ifndef IPEQL_VERDICT_H
#define IPEQL_VERDICT_H

#include <linux/bitops.h>
#include <linux/hash.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/jiffies.h>

#include "slave.h"

#define IPEQL_VERDICT_BITS 5 /* of the number that is remembered for each family */

struct ipeql_verdict4 {
	__be32 source;
	__be32 destination;
	u32 tick; /* in which it was found, the lower half of jiffies */
	bool bundle;
};

struct ipeql_verdict6 {
	struct in6_addr source;
	struct in6_addr destination;
	u32 tick;
	bool bundle;
};

/* Of one slave and CPU. */
struct ipeql_verdicts {
	struct ipeql_verdict4 ipv4[1 << IPEQL_VERDICT_BITS];
	struct ipeql_verdict6 ipv6[1 << IPEQL_VERDICT_BITS];
};

bool ipeql_find_verdict4(const struct ipeql_slave *slave, const struct iphdr *header,
			 struct ipeql_verdict4 *verdict);
bool ipeql_is_bundles6(const struct ipeql_slave *slave, const struct in6_addr *source,
		       const struct in6_addr *destination);

/* Say whether an IPv4 packet is the bundle's. RCU, BH off. */
static inline bool ipeql_is_bundles4(const struct ipeql_slave *slave, const struct iphdr *header)
{
	const u32 at = hash_32((__force u32)header->saddr ^ ror32((__force u32)header->daddr, 8),
			       IPEQL_VERDICT_BITS);
	struct ipeql_verdict4 *verdict = &this_cpu_ptr(slave->verdicts)->ipv4[at];

	if (likely(verdict->source == header->saddr && verdict->destination == header->daddr &&
		   verdict->tick == (u32)jiffies))
		return verdict->bundle;
	return ipeql_find_verdict4(slave, header, verdict);
}

#endif
