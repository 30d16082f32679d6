/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The way of a packet through a bundle. */
#ifndef IPEQL_TRANSMIT_H
#define IPEQL_TRANSMIT_H

#include <linux/netdevice.h>

struct ipeql_bundle;
struct ipeql_queue;

netdev_tx_t ipeql_xmit(struct sk_buff *skb, struct net_device *dev);
void ipeql_drop_held(struct ipeql_bundle *bundle, struct sk_buff *skb);
void ipeql_release(struct ipeql_queue *queue, struct sk_buff *skb);

#endif
