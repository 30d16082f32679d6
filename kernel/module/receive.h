/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The way of a packet that arrives on a slave. */
#ifndef IPEQL_RECEIVE_H
#define IPEQL_RECEIVE_H

#include "slave.h"

void ipeql_receive_by(struct ipeql_slave *slave, bool bundle);

#endif
