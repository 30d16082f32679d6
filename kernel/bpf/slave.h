/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The slaves: which can be used, and how to send on one. */
#ifndef IPEQL_SLAVE_H
#define IPEQL_SLAVE_H

#include "bundle.h"
#include "kernel.h"
#include "packet.h"

static __always_inline bool has_via(const struct slave *slave, const struct view *view)
{
	return slave->vias >> view->ipv6 & 1;
}

static __always_inline struct hop next_hop(const struct slave *slave, const struct view *view)
{
	struct hop hop = { .ifindex = slave->ifindex };

	hop.address = has_via(slave, view) ? slave->via[view->ipv6 & 1] : view->gateway;
	return hop;
}

/* Say whether the link is up, by the device's own word, as bonding asks it for every packet. */
static __always_inline bool is_running(const struct slave *slave)
{
	unsigned long state;

	if (!slave->device)
		return true;
	state = load_kernel(net_device, slave->device, state);
	/* What was freed may be anything by now, but not this interface. */
	return (state & (LINK_UP | LINK_NO_CARRIER)) == LINK_UP &&
	       load_kernel(net_device, slave->device, ifindex) == (int)slave->ifindex;
}

/*
 * Say whether a link sends what it gets: it is up, and its queues are at work. That comes a moment
 * after its carrier; until then noop_qdisc, the one discipline that is built in
 * (net/sched/sch_generic.c), drops packets and reports nothing.
 */
static __always_inline bool is_at_work(const struct slave *slave)
{
	const struct netdev_queue *queue;
	const struct Qdisc *discipline;

	if (!slave->device)
		return true;
	if (!is_running(slave))
		return false;
	queue = load_kernel(net_device, slave->device, _tx);
	discipline = load_kernel(netdev_queue, queue, qdisc);
	return !(load_kernel(Qdisc, discipline, flags) & TCQ_F_BUILTIN);
}

/*
 * A link goes down by either; both are there since 2.6. The first is seen when it has cleared the
 * carrier, the second before it takes away what the link sends through.
 */
SEC("fexit/netif_carrier_off")
int BPF_PROG(carrier_lost)
{
	note_change();
	return 0;
}

SEC("fentry/dev_deactivate_many")
int BPF_PROG(link_set_down)
{
	note_change();
	return 0;
}

/* Send by the kernel's neighbour code, which asks for the address where it has to. */
static __always_inline int redirect(const struct hop *hop)
{
	struct bpf_redir_neigh next = {};

	if (is_ipv4(&hop->address)) {
		next.nh_family = AF_INET;
		next.ipv4_nh = hop->address.word[3];
	} else {
		next.nh_family = AF_INET6;
		__builtin_memcpy(next.ipv6_nh, &hop->address, sizeof(hop->address));
	}
	return bpf_redirect_neigh(hop->ifindex, &next, sizeof(next), 0);
}

#endif
