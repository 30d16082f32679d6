/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is counted: by every CPU for itself, summed up when somebody asks. */
#ifndef IPEQL_COUNTERS_H
#define IPEQL_COUNTERS_H

#include <linux/percpu.h>
#include <linux/u64_stats_sync.h>

enum ipeql_reason {
	IPEQL_DROP_NO_SLAVE,
	IPEQL_DROP_QUEUE_FULL,
	IPEQL_DROP_LINK_FULL,
	IPEQL_DROP_NO_NEIGHBOUR,
	IPEQL_DROP_NO_MEMORY,
	IPEQL_DROP_MALFORMED,
	IPEQL_REASONS,
};

/* Of a slave, or of the bundle: what reached no slave. */
struct ipeql_counters {
	u64_stats_t picks;
	u64_stats_t packets;
	u64_stats_t bytes;
	u64_stats_t received_packets;
	u64_stats_t received_bytes;
	u64_stats_t dropped[IPEQL_REASONS];
	struct u64_stats_sync syncp;
};

struct ipeql_sums {
	u64 picks;
	u64 packets;
	u64 bytes;
	u64 received_packets;
	u64 received_bytes;
	u64 dropped[IPEQL_REASONS];
};

struct ipeql_counters __percpu *ipeql_counters_alloc(void);
void ipeql_counters_add(const struct ipeql_counters __percpu *counters, struct ipeql_sums *sums);
u64 ipeql_sums_dropped(const struct ipeql_sums *sums);

static inline void ipeql_count_sent(struct ipeql_counters __percpu *counters, u32 packets,
				    u32 bytes)
{
	struct ipeql_counters *own = this_cpu_ptr(counters);

	u64_stats_update_begin(&own->syncp);
	u64_stats_inc(&own->picks);
	u64_stats_add(&own->packets, packets);
	u64_stats_add(&own->bytes, bytes);
	u64_stats_update_end(&own->syncp);
}

static inline void ipeql_count_received(struct ipeql_counters __percpu *counters, u32 packets,
					u32 bytes)
{
	struct ipeql_counters *own = this_cpu_ptr(counters);

	u64_stats_update_begin(&own->syncp);
	u64_stats_add(&own->received_packets, packets);
	u64_stats_add(&own->received_bytes, bytes);
	u64_stats_update_end(&own->syncp);
}

static inline void ipeql_count_dropped(struct ipeql_counters __percpu *counters, bool picked,
				       enum ipeql_reason reason, u32 packets)
{
	struct ipeql_counters *own = this_cpu_ptr(counters);

	u64_stats_update_begin(&own->syncp);
	if (picked)
		u64_stats_inc(&own->picks);
	u64_stats_add(&own->dropped[reason], packets);
	u64_stats_update_end(&own->syncp);
}

#endif
