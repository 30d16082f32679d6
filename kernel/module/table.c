// SPDX-License-Identifier: GPL-2.0-or-later
#include "table.h"

#include <linux/etherdevice.h>
#include <linux/if_arp.h>
#include <linux/netlink.h>

#include "ipeql_netlink.h"

#define IPEQL_MIN_BANDWIDTH 1000

static const struct ipeql_needs {
	bool bandwidth;
	bool lag;
	bool timed;
	bool serialised;
	bool per_cpu;
} ipeql_needs[] = {
	[IPEQL_ROUND_ROBIN] = { .per_cpu = true },
	[IPEQL_BW_LOAD] = { .bandwidth = true, .per_cpu = true },
	[IPEQL_BW_POLL] = { .bandwidth = true, .timed = true, .serialised = true },
	[IPEQL_BW_LAG] = { .bandwidth = true, .timed = true },
	[IPEQL_BW_LAG_VAL] = { .bandwidth = true, .lag = true, .timed = true },
	[IPEQL_AUTO_BW] = {},
	[IPEQL_BW_LAG_EQ] = { .bandwidth = true, .lag = true, .timed = true, .serialised = true },
	[IPEQL_DUPLICATE] = {},
};

/* Return a table without slaves that does what is default, or NULL. */
struct ipeql_table *ipeql_table_new(void)
{
	struct ipeql_table *table = kvzalloc(sizeof(*table), GFP_KERNEL);

	if (!table)
		return NULL;
	table->account = kzalloc(sizeof(*table->account), GFP_KERNEL);
	if (!table->account) {
		kvfree(table);
		return NULL;
	}
	spin_lock_init(&table->account->lock);
	table->receives = true;
	table->parameters.method = IPEQL_ROUND_ROBIN;
	table->parameters.packets_per_slave = 1;
	table->parameters.poll_interval = NSEC_PER_SEC;
	table->parameters.queue_limit = 100 * NSEC_PER_MSEC;
	table->parameters.max_hold = 500 * NSEC_PER_MSEC;
	table->parameters.overflow_after = 20 * NSEC_PER_MSEC;
	table->parameters.copies = 2;
	return table;
}

/* Return a table of the same configuration, without state, or NULL. */
struct ipeql_table *ipeql_table_copy(const struct ipeql_table *table)
{
	struct ipeql_table *copy = ipeql_table_new();

	if (!copy)
		return NULL;
	copy->parameters = table->parameters;
	copy->attributes = table->attributes;
	copy->stripe_unit = table->stripe_unit;
	copy->receives = table->receives;
	memcpy(copy->row, table->row, sizeof(copy->row));
	memcpy(copy->given, table->given, sizeof(copy->given));
	memcpy(copy->adjusted, table->adjusted, sizeof(copy->adjusted));
	return copy;
}

void ipeql_table_free(struct ipeql_table *table)
{
	if (!table)
		return;
	free_percpu(table->states);
	kvfree(table->buckets);
	kfree(table->account);
	kvfree(table);
}

/* Add a device as the last row, with the default of everything. */
int ipeql_table_add(struct ipeql_table *table, struct net_device *dev)
{
	const u32 i = table->parameters.count;

	if (i == IPEQL_MAX_SLAVES)
		return -E2BIG;
	table->row[i] = (struct ipeql_row){ .dev = dev, .usable = true };
	table->adjusted[i] = (struct ipeql_adjusted){};
	table->given[i] = (struct ipeql_given){
		.path.overhead = dev->type == ARPHRD_ETHER ? ETH_HLEN : 0,
	};
	table->parameters.count++;
	return 0;
}

const struct ipeql_row *ipeql_table_find(const struct ipeql_table *table,
					 const struct net_device *dev)
{
	u32 i;

	for (i = 0; i < table->parameters.count; i++)
		if (table->row[i].dev == dev)
			return &table->row[i];
	return NULL;
}

/* Return what of a flow is kept to a slave: nothing of what goes over several. */
static u32 ipeql_flows(const struct ipeql_table *table)
{
	if (table->parameters.method == IPEQL_DUPLICATE)
		return IPEQL_NO_FLOWS;
	switch (table->stripe_unit) {
	case IPEQL_STRIPE_UNIT_FLOW:
		return IPEQL_FLOW;
	case IPEQL_STRIPE_UNIT_FLOWLET:
		return IPEQL_FLOWLET;
	}
	return IPEQL_NO_FLOWS;
}

static bool ipeql_overflows(const struct ipeql_table *table)
{
	u32 i;

	for (i = 0; i < table->parameters.count; i++)
		if (table->row[i].use == IPEQL_USE_WHEN_FULL)
			return true;
	return false;
}

static int ipeql_check(const struct ipeql_table *table, const struct ipeql_needs *needs,
		       struct netlink_ext_ack *extack)
{
	const bool overflows = ipeql_overflows(table);
	u32 i;

	for (i = 0; i < table->parameters.count; i++) {
		if (needs->bandwidth && table->given[i].bandwidth < IPEQL_MIN_BANDWIDTH) {
			NL_SET_ERR_MSG(extack, "the method needs the bandwidth of every slave");
			return -EINVAL;
		}
		if (needs->lag && !table->given[i].has_lag) {
			NL_SET_ERR_MSG(extack, "the method needs the lag of every slave");
			return -EINVAL;
		}
		if (overflows && table->row[i].use == IPEQL_USE_ALWAYS &&
		    table->given[i].bandwidth < IPEQL_MIN_BANDWIDTH) {
			NL_SET_ERR_MSG(extack, "a slave for when others are full needs their bandwidth");
			return -EINVAL;
		}
	}
	return 0;
}

/* Find the paths, and who is usable, from what is given and what that is adjusted by. */
static void ipeql_table_derive_paths(struct ipeql_table *table)
{
	struct ipeql_parameters *parameters = &table->parameters;
	u32 i;

	table->usable = parameters->when_full = parameters->when_down = 0;
	for (i = 0; i < table->parameters.count; i++) {
		const struct ipeql_adjusted *adjusted = &table->adjusted[i];
		struct ipeql_given *given = &table->in_force[i];

		*given = table->given[i];
		if (adjusted->bandwidth)
			given->bandwidth = adjusted->bandwidth;
		if (adjusted->has_lag) {
			given->has_lag = true;
			given->path.lag = adjusted->lag;
		}
		table->usable |= (u32)(table->row[i].usable && !adjusted->out) << i;
		parameters->when_full |= (u32)(table->row[i].use == IPEQL_USE_WHEN_FULL) << i;
		parameters->when_down |= (u32)(table->row[i].use == IPEQL_USE_WHEN_DOWN) << i;
	}
	parameters->flows = ipeql_flows(table);
	ipeql_derive(parameters, table->in_force);
	table->in_turn = parameters->method == IPEQL_ROUND_ROBIN && !parameters->ruled;
	table->timed = ipeql_needs[parameters->method].timed || parameters->ruled;
}

/* Find all that follows from the rows of a table. */
static void ipeql_table_complete(struct ipeql_table *table)
{
	u32 i;

	for (i = 0; i < table->parameters.count; i++) {
		const struct header_ops *header = table->row[i].dev->header_ops;

		table->row[i].resolves = header && header->create;
	}
	ipeql_table_derive_paths(table);
}

/*
 * Complete a table whose configuration is set: check it, and find all that follows from it. Returns
 * -EINVAL where the method needs what a slave does not give, -ENOMEM.
 */
int ipeql_table_derive(struct ipeql_table *table, struct netlink_ext_ack *extack)
{
	const struct ipeql_needs *needs = &ipeql_needs[table->parameters.method];
	int err = ipeql_check(table, needs, extack);

	if (err)
		return err;
	table->serialised = needs->serialised;
	table->holds = table->parameters.method == IPEQL_BW_LAG_EQ;
	if (needs->per_cpu) {
		table->states = alloc_percpu(struct ipeql_state);
		if (!table->states)
			return -ENOMEM;
	}
	if (ipeql_flows(table)) {
		table->buckets = kvcalloc(IPEQL_BUCKETS, sizeof(*table->buckets),
					  GFP_KERNEL_ACCOUNT);
		if (!table->buckets)
			return -ENOMEM;
	}
	ipeql_table_complete(table);
	return 0;
}

/* Remove a device from a complete table, which stays complete. */
void ipeql_table_remove(struct ipeql_table *table, const struct net_device *dev)
{
	const struct ipeql_row *found = ipeql_table_find(table, dev);
	u32 i;

	if (!found)
		return;
	table->parameters.count--;
	for (i = found - table->row; i < table->parameters.count; i++) {
		table->row[i] = table->row[i + 1];
		table->given[i] = table->given[i + 1];
		table->adjusted[i] = table->adjusted[i + 1];
	}
	ipeql_table_complete(table);
}

/* Let the slaves that stay be adjusted as they are in the table before. */
void ipeql_table_carry(struct ipeql_table *table, const struct ipeql_table *before)
{
	u32 i;

	for (i = 0; i < table->parameters.count; i++) {
		const struct ipeql_row *row = ipeql_table_find(before, table->row[i].dev);

		if (row)
			table->adjusted[i] = before->adjusted[row - before->row];
	}
}

/* Adjust a complete table that is not in force, which stays complete. */
void ipeql_table_adjust(struct ipeql_table *table, const struct ipeql_adjusted *adjusted)
{
	memcpy(table->adjusted, adjusted, sizeof(table->adjusted));
	ipeql_table_derive_paths(table);
	table->parameters.adjusted++;
}

/*
 * Return the table that is to take the place of the one in force, adjusted, or NULL. They share all
 * state: of the older one only the table itself is to be freed.
 */
struct ipeql_table *ipeql_table_adjusted(const struct ipeql_table *table,
					 const struct ipeql_adjusted *adjusted)
{
	struct ipeql_table *copy = kvmalloc(sizeof(*copy), GFP_KERNEL);

	if (!copy)
		return NULL;
	memcpy(copy, table, sizeof(*copy));
	ipeql_table_adjust(copy, adjusted);
	return copy;
}

/* Let the flows stay on their slaves; origin as ipeql_inherit() has it. */
static void ipeql_table_inherit_flows(struct ipeql_table *table, const struct ipeql_table *before,
				      const u32 *origin)
{
	u32 k;

	if (!table->buckets)
		return;
	for (k = 0; k < IPEQL_BUCKETS; k++)
		table->buckets[k] = before->buckets ? READ_ONCE(before->buckets[k]) : 0;
	ipeql_move_flows(&table->parameters, table->buckets, origin);
}

/*
 * Hand over to a table what outlives the one that it replaces. What packets on other CPUs change of
 * a state without a lock meanwhile, the new table does not learn: a turn, where a flow is, or a
 * packet's worth of virtual queue.
 */
void ipeql_table_inherit(struct ipeql_table *table, struct ipeql_table *before)
{
	struct ipeql_state *shared = &table->account->state, *old = &before->account->state;
	u32 origin[IPEQL_MAX_SLAVES];
	int cpu;
	u32 i;

	for (i = 0; i < IPEQL_MAX_SLAVES; i++) {
		const struct ipeql_row *row = NULL;

		if (i < table->parameters.count)
			row = ipeql_table_find(before, table->row[i].dev);
		origin[i] = row ? row - before->row : IPEQL_NO_SLAVE;
	}
	memset(shared, 0, sizeof(*shared)); /* it may have been in force before */
	spin_lock_bh(&before->account->lock);
	ipeql_inherit(&table->parameters, shared, &before->parameters, old, origin);
	spin_unlock_bh(&before->account->lock);
	ipeql_table_inherit_flows(table, before, origin);
	if (!table->states)
		return;
	for_each_possible_cpu(cpu) {
		struct ipeql_state *state = per_cpu_ptr(table->states, cpu);

		memset(state, 0, sizeof(*state));
		ipeql_inherit(&table->parameters, state, &before->parameters,
			      before->states ? per_cpu_ptr(before->states, cpu) : old,
			      origin);
	}
}
