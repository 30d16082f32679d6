/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The generic netlink family; ipeql_netlink.h is its manual. */
#ifndef IPEQL_GENL_H
#define IPEQL_GENL_H

int ipeql_netlink_register(void);
void ipeql_netlink_unregister(void);

#endif
