/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The striping methods, from the one header that the eBPF program uses too. */
#ifndef IPEQL_KERNEL_METHODS_H
#define IPEQL_KERNEL_METHODS_H

#include <linux/atomic.h>
#include <linux/types.h>

#define IPEQL_CMPXCHG(where, old, new) cmpxchg64(where, old, new)
#define IPEQL_ADD(where, value) atomic64_add(value, (atomic64_t *)(where))

#include "ipeql_methods.h"

#endif
