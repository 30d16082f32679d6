// SPDX-License-Identifier: GPL-2.0-or-later
#include "pressure.h"

#include "compat.h"

/* The longest wait for the line that a packet which leaves the queueing discipline may meet. */
#define IPEQL_LONGEST_WAIT (5 * NSEC_PER_MSEC)

static enum hrtimer_restart ipeql_wake(struct hrtimer *timer)
{
	struct ipeql_bundle *bundle = container_of(timer, struct ipeql_bundle, wake);

	if (netif_running(bundle->dev))
		netif_tx_wake_all_queues(bundle->dev);
	return HRTIMER_NORESTART;
}

void ipeql_pressure_init(struct ipeql_bundle *bundle)
{
	hrtimer_setup(&bundle->wake, ipeql_wake, CLOCK_MONOTONIC, HRTIMER_MODE_ABS_SOFT);
}

/* Let the timer run no more; may sleep. No packet may come meanwhile. */
void ipeql_pressure_end(struct ipeql_bundle *bundle)
{
	hrtimer_cancel(&bundle->wake);
}

/*
 * Stop the bundle's queue where the next packet would wait too long for the line, and never so long
 * that it would be dropped, until a fifth of that time has passed: one timer for a few packets.
 */
void ipeql_pressure(struct ipeql_bundle *bundle, u64 now, u64 wait, u64 limit)
{
	const u64 longest = min_t(u64, IPEQL_LONGEST_WAIT, limit);

	if (wait <= longest)
		return;
	netif_tx_stop_all_queues(bundle->dev);
	hrtimer_start(&bundle->wake, ns_to_ktime(now + wait - longest + longest / 5),
		      HRTIMER_MODE_ABS_SOFT);
}
