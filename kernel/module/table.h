/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The slave table: what a bundle is configured to do, replaced as a whole. */
#ifndef IPEQL_TABLE_H
#define IPEQL_TABLE_H

#include <linux/netdevice.h>
#include <linux/spinlock.h>
#include <linux/types.h>

#include "derive.h"
#include "slave.h"

/* One slave. The first three are what every packet needs. */
struct ipeql_row {
	struct net_device *dev;
	struct ipeql_slave *slave;
	bool resolves; /* its next hops have link-layer addresses */
	bool usable; /* as the control plane decides */
	u8 use; /* enum ipeql_use */
	__be32 via; /* next hops; all 0: none given */
	struct in6_addr via6;
};

/* What a slave is adjusted by; all 0: by nothing. */
struct ipeql_adjusted {
	bool out; /* it is not usable, whatever row[i].usable says */
	bool has_lag;
	u64 bandwidth; /* 0: as given */
	u64 lag;
};

/* The state that all CPUs share; outlives the tables of a configuration that is adjusted. */
struct ipeql_account {
	spinlock_t lock;
	struct ipeql_state state;
};

struct ipeql_table {
	u32 usable; /* bit i: row[i].usable, and not adjusted[i].out */
	u32 attributes; /* bit a: parameter IPEQL_A_BUNDLE_a was given */
	bool in_turn; /* round_robin alone decides */
	bool timed; /* the method, or what else decides, looks at the clock */
	bool serialised; /* the method's state is under account->lock */
	bool holds; /* the method holds packets back */
	u8 stripe_unit; /* enum ipeql_stripe_unit */
	bool receives; /* receive: bundle */
	struct ipeql_state __percpu *states; /* where every CPU has its own */
	struct ipeql_account *account;
	u64 *buckets; /* IPEQL_BUCKETS, where flows are kept to slaves; live as long as account */
	struct ipeql_parameters parameters;
	struct rcu_head rcu;
	struct ipeql_row row[IPEQL_MAX_SLAVES];
	struct ipeql_given given[IPEQL_MAX_SLAVES]; /* of row[i] */
	struct ipeql_adjusted adjusted[IPEQL_MAX_SLAVES]; /* of row[i] */
	struct ipeql_given in_force[IPEQL_MAX_SLAVES]; /* of row[i]: the one by the other */
};

struct ipeql_table *ipeql_table_new(void);
struct ipeql_table *ipeql_table_copy(const struct ipeql_table *table);
void ipeql_table_free(struct ipeql_table *table);
int ipeql_table_derive(struct ipeql_table *table, struct netlink_ext_ack *extack);
int ipeql_table_add(struct ipeql_table *table, struct net_device *dev);
void ipeql_table_remove(struct ipeql_table *table, const struct net_device *dev);
void ipeql_table_carry(struct ipeql_table *table, const struct ipeql_table *before);
void ipeql_table_adjust(struct ipeql_table *table, const struct ipeql_adjusted *adjusted);
struct ipeql_table *ipeql_table_adjusted(const struct ipeql_table *table,
					 const struct ipeql_adjusted *adjusted);
void ipeql_table_inherit(struct ipeql_table *table, struct ipeql_table *before);
const struct ipeql_row *ipeql_table_find(const struct ipeql_table *table,
					 const struct net_device *dev);

#endif
