// SPDX-License-Identifier: GPL-2.0-or-later
#include "counters.h"

struct ipeql_counters __percpu *ipeql_counters_alloc(void)
{
	struct ipeql_counters __percpu *counters = alloc_percpu(struct ipeql_counters);
	int cpu;

	if (counters)
		for_each_possible_cpu(cpu)
			u64_stats_init(&per_cpu_ptr(counters, cpu)->syncp);
	return counters;
}

/* Add every CPU's counters to sums. */
void ipeql_counters_add(const struct ipeql_counters __percpu *counters, struct ipeql_sums *sums)
{
	int cpu, reason;

	for_each_possible_cpu(cpu) {
		const struct ipeql_counters *one = per_cpu_ptr(counters, cpu);
		struct ipeql_sums part;
		unsigned int start;

		do {
			start = u64_stats_fetch_begin(&one->syncp);
			part.picks = u64_stats_read(&one->picks);
			part.packets = u64_stats_read(&one->packets);
			part.bytes = u64_stats_read(&one->bytes);
			part.received_packets = u64_stats_read(&one->received_packets);
			part.received_bytes = u64_stats_read(&one->received_bytes);
			for (reason = 0; reason < IPEQL_REASONS; reason++)
				part.dropped[reason] = u64_stats_read(&one->dropped[reason]);
		} while (u64_stats_fetch_retry(&one->syncp, start));
		sums->picks += part.picks;
		sums->packets += part.packets;
		sums->bytes += part.bytes;
		sums->received_packets += part.received_packets;
		sums->received_bytes += part.received_bytes;
		for (reason = 0; reason < IPEQL_REASONS; reason++)
			sums->dropped[reason] += part.dropped[reason];
	}
}

u64 ipeql_sums_dropped(const struct ipeql_sums *sums)
{
	u64 dropped = 0;
	int reason;

	for (reason = 0; reason < IPEQL_REASONS; reason++)
		dropped += sums->dropped[reason];
	return dropped;
}
