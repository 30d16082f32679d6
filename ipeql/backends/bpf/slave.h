/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The slaves: which can be used, and how to send on one. */
#ifndef IPEQL_SLAVE_H
#define IPEQL_SLAVE_H

#include "bundle.h"
#include "kernel.h"
#include "packet.h"

static __always_inline const struct address *via_of(const struct slave *slave,
						    const struct view *view)
{
	return view->ipv6 ? &slave->via6 : &slave->via;
}

static __always_inline struct hop next_hop(const struct slave *slave, const struct view *view)
{
	const struct address *via = via_of(slave, view);

	return (struct hop){ slave->ifindex, is_given(via) ? *via : view->destination };
}

/* Say whether the link is up, by the device's own word, as bonding asks it for every packet. */
static __always_inline bool is_up(const struct slave *slave)
{
	unsigned long state = 0;

	if (!slave->device)
		return true;
	read_kernel(&state, net_device, slave->device, state);
	return (state & (LINK_UP | LINK_NO_CARRIER)) == LINK_UP;
}

/* The same, where the device may be gone: what was freed may be anything, but not this interface. */
static __always_inline bool is_running(const struct slave *slave)
{
	int ifindex = 0;

	if (!slave->device)
		return true;
	read_kernel(&ifindex, net_device, slave->device, ifindex);
	return ifindex == (int)slave->ifindex && is_up(slave);
}

/* Send by the kernel's neighbour code, which asks for the address where it has to. */
static __always_inline int redirect(const struct hop *hop)
{
	struct bpf_redir_neigh next = {};

	if (hop->address.word[0] == 0 && hop->address.word[1] == 0 &&
	    hop->address.word[2] == bpf_htonl(0xffff)) {
		next.nh_family = AF_INET;
		next.ipv4_nh = hop->address.word[3];
	} else {
		next.nh_family = AF_INET6;
		__builtin_memcpy(next.ipv6_nh, &hop->address, sizeof(hop->address));
	}
	return bpf_redirect_neigh(hop->ifindex, &next, sizeof(next), 0);
}

#endif
