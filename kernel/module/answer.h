/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who asks on a slave for the link-layer address of one of the bundle's addresses is answered with
 * the slave's, whatever the slave's own settings say (arp_ignore, arp_filter, rp_filter): they are
 * about its own addresses.
 */
#ifndef IPEQL_ANSWER_H
#define IPEQL_ANSWER_H

#include <linux/skbuff.h>

#include "slave.h"

bool ipeql_answer_arp(const struct ipeql_slave *slave, struct sk_buff *skb);
bool ipeql_answer_solicitation(const struct ipeql_slave *slave, struct sk_buff *skb);

#endif
