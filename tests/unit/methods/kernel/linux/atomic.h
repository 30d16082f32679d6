/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the module takes from the kernel for its arithmetic, in user space. */
#include <linux/types.h>
#include <stdbool.h>

typedef __u32 u32;
typedef __u64 u64;
typedef struct {
	__s64 counter;
} atomic64_t;

#define cmpxchg64(where, old, new) __sync_val_compare_and_swap(where, old, new)

static inline void atomic64_add(__s64 value, atomic64_t *where)
{
	__sync_fetch_and_add(&where->counter, value);
}
