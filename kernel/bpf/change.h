/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Putting a table into force, and adjusting the one that is. User space derives what they write from
 * what is in force, and says by a revision from which; where that is another by now, or the other of
 * the two is at work, nothing is changed, and it tries again (docs/adr/0030-adjusting.md).
 */
#ifndef IPEQL_CHANGE_H
#define IPEQL_CHANGE_H

#include "bundle.h"
#include "kernel.h"
#include "packet.h"
#include "rule.h"

/* Begin a change of what has this revision. False: it is another one, or another change goes on. */
static __always_inline bool begin_change(const struct origins *known, __u64 revision)
{
	if (__sync_val_compare_and_swap(&bundle.changing, 0, 1))
		return false;
	if (known->revision == revision)
		return true;
	__sync_lock_test_and_set(&bundle.changing, 0);
	return false;
}

static __always_inline void end_change(struct origins *known, __u32 next)
{
	__sync_lock_test_and_set(&bundle.active, next);
	__sync_fetch_and_add(&known->revision, 1);
	__sync_lock_test_and_set(&bundle.changing, 0);
}

/* Prepare a CPU's lane for the incoming table. */
__noinline int prepare(__u32 cpu)
{
	__u32 zero = 0, now = active_table(), old = state_of(now);
	struct incoming *wanted = bpf_map_lookup_elem(&incoming, &zero);
	struct lane *lane = bpf_map_lookup_percpu_elem(&lanes, &zero, cpu);

	if (!wanted || !lane)
		return 0;
	ipeql_inherit(&wanted->table.parameters, &lane->state[old ^ 1],
		      &bundle.table[now].parameters, &lane->state[old], wanted->origin);
	for (__u32 i = 0; i < IPEQL_MAX_SLAVES; i++)
		if (wanted->fresh >> i & 1)
			lane->counters[i] = (struct counters){};
	return 0;
}

static long prepare_one(__u32 cpu, void *context)
{
	prepare(cpu);
	return 0;
}

/* Put `incoming` into force in one step. */
SEC("tc")
int configure(struct __sk_buff *skb)
{
	__u32 zero = 0, now, next, old;
	struct incoming *wanted = bpf_map_lookup_elem(&incoming, &zero);
	struct serialised *account = bpf_map_lookup_elem(&serialised, &zero);
	struct origins *known = bpf_map_lookup_elem(&origins, &zero);

	if (!wanted || !account || !known || !begin_change(known, wanted->origins.revision))
		return TC_ACT_SHOT;
	now = active_table();
	old = state_of(now);
	next = (now ^ 2) & 2;
	bpf_loop(wanted->cpus, prepare_one, 0, 0);
	move_flows(wanted);
	/* A plain copy would be a call of memcpy(). */
	bpf_probe_read_kernel(&bundle.table[next], sizeof(wanted->table), &wanted->table);
	bpf_probe_read_kernel(known, sizeof(*known), &wanted->origins);
	ipeql_inherit(&wanted->table.parameters, &bundle.state[old ^ 1],
		      &bundle.table[now].parameters, &bundle.state[old], wanted->origin);
	ipeql_begin(&account->state[old ^ 1]);
	for (__u32 i = 0; i < IPEQL_MAX_SLAVES; i++)
		if (wanted->fresh >> i & 1)
			account->held[i] = (struct held){};
	routes_vary = true;
	if (wanted->table.watched)
		read_kernel(&routes_vary, net, home, ipv4.fib_has_custom_rules);
	end_change(known, next);
	note_change();
	return TC_ACT_OK;
}

#define ADJUSTING(member) __builtin_offsetof(struct adjusting, member)
#define PATHS (ADJUSTING(adjusted) - ADJUSTING(order))

/* Replace the paths, and who is usable, in one step: struct adjusting says by what. */
SEC("tc")
int adjust(struct __sk_buff *skb)
{
	__u32 zero = 0, now, next, usable;
	struct origins *known = bpf_map_lookup_elem(&origins, &zero);
	struct table *table;
	__u64 revision;

	if (!known || skb->len != sizeof(struct adjusting) ||
	    bpf_skb_load_bytes(skb, ADJUSTING(revision), &revision, sizeof(revision)) ||
	    bpf_skb_load_bytes(skb, ADJUSTING(usable), &usable, sizeof(usable)) ||
	    !begin_change(known, revision))
		return TC_ACT_SHOT;
	now = active_table();
	next = now ^ 1;
	table = &bundle.table[next];
	bpf_probe_read_kernel(table, sizeof(*table), &bundle.table[now]);
	bpf_skb_load_bytes(skb, ADJUSTING(timed), &table->parameters.timed, sizeof(__u32));
	bpf_skb_load_bytes(skb, ADJUSTING(order), table->parameters.order, PATHS);
	bpf_skb_load_bytes(skb, ADJUSTING(adjusted), known->adjusted, sizeof(known->adjusted));
	table->parameters.adjusted++;
	table->usable = usable;
	end_change(known, next);
	if (usable != bundle.table[now].usable)
		note_change();
	return TC_ACT_OK;
}

#endif
