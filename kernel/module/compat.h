/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What differs between the kernels from 6.1 on: the only place that asks for a version, with Kbuild. */
#ifndef IPEQL_COMPAT_H
#define IPEQL_COMPAT_H

#include <linux/hrtimer.h>
#include <linux/netdevice.h>
#include <linux/version.h>
#include <net/rtnetlink.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
#error IPEQL needs Linux 6.1 or later
#endif

#ifndef CONFIG_64BIT
#error IPEQL divides and compares 64-bit numbers: it needs a 64-bit kernel
#endif

/* Kernels are built to zero every local variable; this one is filled in before it is read. */
#if __has_attribute(__uninitialized__)
#define ipeql_filled_in __attribute__((__uninitialized__))
#else
#define ipeql_filled_in
#endif

/* Take no lock around ndo_start_xmit(), and stay in this network namespace. */
static inline void ipeql_compat_setup(struct net_device *dev)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
	dev->lltx = true;
#else
	dev->features |= NETIF_F_LLTX;
#endif
#ifdef IPEQL_HAS_NETNS_IMMUTABLE
	dev->netns_immutable = true;
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
	dev->netns_local = true;
#else
	dev->features |= NETIF_F_NETNS_LOCAL;
#endif
}

/*
 * Say whether a device has anything but a queue that looks at what it sends: filters (clsact, tcx,
 * netfilter's egress hook), or priorities by control group.
 */
static inline bool ipeql_looks_at_egress(const struct net_device *dev)
{
#if IS_ENABLED(CONFIG_CGROUP_NET_PRIO)
	if (rcu_access_pointer(dev->priomap))
		return true;
#endif
#ifdef CONFIG_NETFILTER_EGRESS
	if (rcu_access_pointer(dev->nf_hooks_egress))
		return true;
#endif
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
#ifdef CONFIG_NET_XGRESS
	if (rcu_access_pointer(dev->tcx_egress))
		return true;
#endif
#elif defined(CONFIG_NET_CLS_ACT)
	if (rcu_access_pointer(dev->miniq_egress))
		return true;
#endif
	return false;
}

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
static inline void hrtimer_setup(struct hrtimer *timer,
				 enum hrtimer_restart (*function)(struct hrtimer *),
				 clockid_t clock, enum hrtimer_mode mode)
{
	hrtimer_init(timer, clock, mode);
	timer->function = function;
}
#endif

#endif
