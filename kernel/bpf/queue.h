/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * auto_bw: how much each slave has not sent yet. Read when a packet is placed, so it is as new as
 * can be: packets in the queueing disciplines, and, of drivers with byte queue limits, the bytes
 * that they hold, in full packets. What a discipline without a lock holds (pfifo_fast) is spread
 * over the CPUs and is not counted; its driver's bytes are.
 */
#ifndef IPEQL_QUEUE_H
#define IPEQL_QUEUE_H

#include "bundle.h"
#include "kernel.h"

#define TRANSMIT_QUEUES 8 /* of one device that are looked at */

static __always_inline __u32 in_discipline(const struct Qdisc *discipline)
{
	return load_kernel(Qdisc, discipline, q.qlen);
}

static __always_inline __u32 in_driver(const void *queue)
{
	unsigned int bytes;

	if (!bpf_core_field_exists(struct netdev_queue, dql))
		return 0;
	bytes = load_kernel(netdev_queue, queue, dql.num_queued) -
		load_kernel(netdev_queue, queue, dql.num_completed);
	return (bytes + IPEQL_PACKET - 1) / IPEQL_PACKET;
}

/* Return the packets that a device has not sent yet. Global, so that it is verified once. */
__noinline __u32 queue_length(__u64 device)
{
	const struct Qdisc *discipline, *last = 0;
	__u32 packets = 0;
	unsigned int count = load_kernel(net_device, device, real_num_tx_queues);
	__u64 queue = (__u64)load_kernel(net_device, device, _tx);

	for (__u32 i = 0; i < TRANSMIT_QUEUES && i < count; i++) {
		discipline = load_kernel(netdev_queue, queue, qdisc);
		/* One discipline may serve all the queues. */
		if (discipline != last)
			packets += in_discipline(discipline);
		last = discipline;
		packets += in_driver((const void *)queue);
		queue += bpf_core_type_size(struct netdev_queue);
	}
	return packets;
}

__noinline __u32 measure(struct ipeql_packet *packet, __u32 set)
{
	const struct table *table = &bundle.table[active_table()];

	if (!packet)
		return 0;
	for (__u32 i = 0; i < IPEQL_MAX_SLAVES && i < table->parameters.count; i++)
		if (set >> i & 1)
			packet->queued[i] = queue_length(table->slave[i].device);
	return set;
}

#endif
