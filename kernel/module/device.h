/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bundle as a network device: rtnetlink kind "ipeql". */
#ifndef IPEQL_DEVICE_H
#define IPEQL_DEVICE_H

#include <linux/netdevice.h>
#include <net/rtnetlink.h>

#include "bundle.h"

extern const struct ethtool_ops ipeql_ethtool_ops;
extern struct notifier_block ipeql_notifier;

int ipeql_device_register(void);
void ipeql_device_unregister(void);
bool ipeql_is_bundle(const struct net_device *dev);

#endif
