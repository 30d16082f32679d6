/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IPEQL_OUTPUT_H
#define IPEQL_OUTPUT_H

#include <linux/netdevice.h>

int ipeql_neighbour_construct(struct net_device *dev, struct neighbour *neighbour);

#endif
