/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The striping methods that hold no packets, exactly as docs/methods.md has them: the C twin of
 * ipeql/methods/. Plain C on 64-bit integers, for eBPF and for the kernel alike; whoever includes
 * it brings the __u32 family of types and serialises the calls for one bundle.
 * Units: times ns, lengths bytes, rates bit/s.
 */
#ifndef IPEQL_METHODS_H
#define IPEQL_METHODS_H

#define IPEQL_MAX_SLAVES 32
#define IPEQL_NO_SLAVE IPEQL_MAX_SLAVES
#define IPEQL_NSPB_SHIFT 16
#define IPEQL_HIGHEST 0x7fffffffffffffffLL
#define IPEQL_PACKET 1500 /* bytes that one packet stands for where packets are counted */
#define IPEQL_BITS_NS (8ULL * 1000000000) /* bit/s x ns in one byte */

/* An index that the eBPF verifier knows to be within an array of IPEQL_MAX_SLAVES. */
#define IPEQL_AT(i) ((i) & (IPEQL_MAX_SLAVES - 1))

enum ipeql_method {
	IPEQL_ROUND_ROBIN,
	IPEQL_BW_LOAD,
	IPEQL_BW_POLL,
	IPEQL_BW_LAG,
	IPEQL_BW_LAG_VAL,
};

/* What a method knows of one slave; divisions were done by the control plane. */
struct ipeql_path {
	__u64 nspb;            /* ns a byte, 16.16 fixed point */
	__u64 lag;             /* ns */
	__u64 decay_quotient;  /* bw_poll: bandwidth x poll-interval, whole bytes' or packets' worth */
	__u64 decay_remainder; /* and what is left of that division */
	__u32 weight;          /* share of the bandwidth, 16 bits of fraction */
	__u32 overhead;        /* bytes the wire adds to every packet */
};

/* One slave table as the methods see it, replaced as a whole. */
struct ipeql_parameters {
	__u32 method;
	__u32 count;             /* slaves */
	__u32 packets_per_slave; /* round_robin */
	__u32 count_packets;     /* bw_load, bw_poll: packets rather than bytes */
	__u64 poll_interval;     /* bw_poll */
	__u32 order[IPEQL_MAX_SLAVES]; /* indices in lag order */
	struct ipeql_path path[IPEQL_MAX_SLAVES];
};

struct ipeql_state {
	__s64 priority[IPEQL_MAX_SLAVES]; /* bw_load, bw_poll */
	__u64 busy[IPEQL_MAX_SLAVES];     /* bw_lag, bw_lag_val: when the virtual queue drains */
	__u64 polled;                     /* bw_poll: when the priorities last decayed, 0: never */
	__u32 usable;                     /* the set that the priorities are of */
	__u32 sum;                        /* of its weights */
	__u32 last;                       /* round_robin: the slave picked last */
	__u32 left;                       /* and how many packets it still gets */
	/*
	 * The search for a minimum under way. It lives here because the eBPF verifier would follow
	 * every course of local variables through the loop, and give up; what it reads from memory
	 * it takes for unknown.
	 */
	volatile __u64 least;
	volatile __u64 finish;
	volatile __u32 best;
	__u32 padding;
};

struct ipeql_packet {
	__u64 now;      /* CLOCK_MONOTONIC */
	__u32 length;   /* of the IP packet */
	__u32 segments; /* wire packets it becomes */
	__u32 header;   /* bytes each of them after the first repeats */
};

static __always_inline __u32 ipeql_bytes(const struct ipeql_packet *packet)
{
	return packet->length + (packet->segments - 1) * packet->header;
}

static __always_inline __u32 ipeql_round_robin(const struct ipeql_parameters *table,
					       struct ipeql_state *state, __u32 usable)
{
	__u32 later;

	if (!state->left || !(usable >> IPEQL_AT(state->last) & 1)) {
		/* The next usable slave after the last one, or else the first. */
		later = usable & ~((2ULL << IPEQL_AT(state->last)) - 1);
		if (!later)
			later = usable;
		state->last = 0;
		for (__u32 i = 0; i < IPEQL_MAX_SLAVES; i++)
			if (later >> i & 1) {
				state->last = i;
				break;
			}
		state->left = table->packets_per_slave;
	}
	state->left--;
	return state->last;
}

static __always_inline __s64 ipeql_decayed(__s64 priority, __u64 decay, __u64 times)
{
	__u64 size = priority < 0 ? -priority : priority;

	if (!decay)
		return priority;
	size = times > size / decay ? 0 : size - times * decay;
	return priority < 0 ? -(__s64)size : (__s64)size;
}

static __always_inline void ipeql_poll(const struct ipeql_parameters *table,
				       struct ipeql_state *state, __u64 now)
{
	__u64 unit = table->count_packets ? IPEQL_BITS_NS * IPEQL_PACKET : IPEQL_BITS_NS;
	__u64 times, decay;

	if (!state->polled)
		state->polled = now;
	if (now - state->polled < table->poll_interval || !table->poll_interval)
		return;
	times = (now - state->polled) / table->poll_interval;
	state->polled += times * table->poll_interval;
	for (__u32 i = 0; i < IPEQL_MAX_SLAVES && i < table->count; i++) {
		/* sum x bandwidth x interval / unit, split so that it stays within 64 bits */
		decay = state->sum * table->path[i].decay_quotient +
			state->sum * table->path[i].decay_remainder / unit;
		state->priority[i] = ipeql_decayed(state->priority[i], decay, times);
	}
}

static __always_inline __u32 ipeql_bw_load(const struct ipeql_parameters *table,
					   struct ipeql_state *state, __u32 usable,
					   const struct ipeql_packet *packet)
{
	__s64 unit = table->count_packets ? 1 : ipeql_bytes(packet);

	state->least = IPEQL_HIGHEST;
	state->best = 0;
	for (__u32 i = 0; i < IPEQL_MAX_SLAVES && i < table->count; i++) {
		if (!(usable >> i & 1))
			continue;
		state->priority[i] -= table->path[i].weight * unit;
		if (state->priority[i] < (__s64)state->least) {
			state->least = state->priority[i];
			state->best = i;
		}
	}
	state->priority[IPEQL_AT(state->best)] = state->least + unit * state->sum;
	return state->best;
}

/* When slave i has sent the packet, were it given to it. */
static __always_inline __u64 ipeql_sent(const struct ipeql_parameters *table,
					const struct ipeql_state *state, __u32 i,
					const struct ipeql_packet *packet)
{
	const struct ipeql_path *path = &table->path[IPEQL_AT(i)];
	__u64 drained = state->busy[IPEQL_AT(i)];
	__u64 charge = ipeql_bytes(packet) + (__u64)packet->segments * path->overhead;

	return (drained > packet->now ? drained : packet->now) +
	       (charge * path->nspb >> IPEQL_NSPB_SHIFT);
}

static __always_inline __u32 ipeql_bw_lag(const struct ipeql_parameters *table,
					  struct ipeql_state *state, __u32 usable,
					  const struct ipeql_packet *packet)
{
	state->least = ~0ULL;
	state->best = 0;
	for (__u32 k = 0; k < IPEQL_MAX_SLAVES && k < table->count; k++) {
		__u32 i = IPEQL_AT(table->order[k]);

		if (!(usable >> i & 1) || state->busy[i] >= state->least)
			continue;
		state->least = state->busy[i];
		state->best = i;
		if (state->least <= packet->now)
			break;
	}
	state->busy[IPEQL_AT(state->best)] = ipeql_sent(table, state, state->best, packet);
	return state->best;
}

static __always_inline __u32 ipeql_bw_lag_val(const struct ipeql_parameters *table,
					      struct ipeql_state *state, __u32 usable,
					      const struct ipeql_packet *packet)
{
	state->least = ~0ULL;
	state->best = 0;
	for (__u32 i = 0; i < IPEQL_MAX_SLAVES && i < table->count; i++) {
		__u64 sent;

		if (!(usable >> i & 1))
			continue;
		sent = ipeql_sent(table, state, i, packet);
		if (sent + table->path[i].lag < state->least) {
			state->least = sent + table->path[i].lag;
			state->finish = sent;
			state->best = i;
		}
	}
	state->busy[IPEQL_AT(state->best)] = state->finish;
	return state->best;
}

/* Start the priorities anew for another usable set. */
static __always_inline void ipeql_use(const struct ipeql_parameters *table,
				      struct ipeql_state *state, __u32 usable)
{
	state->usable = usable;
	state->sum = 0;
	for (__u32 i = 0; i < IPEQL_MAX_SLAVES && i < table->count; i++) {
		state->priority[i] = 0;
		if (usable >> i & 1)
			state->sum += table->path[i].weight;
	}
}

/* Place one packet on one of the usable slaves (bit i: slave i) and account for it. */
static __always_inline __u32 ipeql_pick(const struct ipeql_parameters *table,
					struct ipeql_state *state, __u32 usable,
					const struct ipeql_packet *packet)
{
	usable &= (1ULL << table->count) - 1;
	if (usable != state->usable)
		ipeql_use(table, state, usable);
	if (!usable)
		return IPEQL_NO_SLAVE;
	switch (table->method) {
	case IPEQL_ROUND_ROBIN:
		return ipeql_round_robin(table, state, usable);
	case IPEQL_BW_LAG:
		return ipeql_bw_lag(table, state, usable, packet);
	case IPEQL_BW_LAG_VAL:
		return ipeql_bw_lag_val(table, state, usable, packet);
	case IPEQL_BW_POLL:
		ipeql_poll(table, state, packet->now);
	}
	return ipeql_bw_load(table, state, usable, packet);
}

static __always_inline int ipeql_has_queues(const struct ipeql_parameters *table)
{
	return table->method == IPEQL_BW_LAG || table->method == IPEQL_BW_LAG_VAL;
}

/*
 * Give the state of table, which replaces before, what outlives that: the virtual queues of staying
 * slaves, and whose turn it is. origin[i] is the index slave i had, IPEQL_NO_SLAVE: it is new.
 */
static __always_inline void ipeql_inherit(const struct ipeql_parameters *table,
					  struct ipeql_state *state,
					  const struct ipeql_parameters *before,
					  const struct ipeql_state *old, const __u32 *origin)
{
	int queues = ipeql_has_queues(table) && ipeql_has_queues(before);

	state->least = IPEQL_MAX_SLAVES;
	state->polled = state->usable = state->sum = state->left = 0;
	state->last = IPEQL_AT(table->count - 1);
	for (__u32 i = 0; i < IPEQL_MAX_SLAVES; i++) {
		__u32 from = origin[i], back;

		state->busy[i] = state->priority[i] = 0;
		if (i >= table->count || from >= before->count)
			continue;
		if (queues)
			state->busy[i] = old->busy[IPEQL_AT(from)];
		if (table->method != IPEQL_ROUND_ROBIN || before->method != IPEQL_ROUND_ROBIN)
			continue;
		/* The last slave, or the nearest before it that stays. */
		back = old->last >= from ? old->last - from : old->last + before->count - from;
		if (back < state->least) {
			state->least = back;
			state->last = i;
		}
	}
}

#endif
