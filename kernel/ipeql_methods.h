/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The striping methods, exactly as docs/methods.md has them: the C twin of ipeql/methods/. Plain C
 * on 64-bit integers, for eBPF and for the kernel module alike; whoever includes it brings the
 * __u32 family of types. Units: times ns, lengths bytes, rates bit/s.
 *
 * Who may call ipeql_pick() at the same time for one state:
 *   round_robin, bw_load    nobody; but every CPU may have a state of its own
 *   bw_poll, bw_lag_eq      nobody; there is one state
 *   bw_lag, bw_lag_val      everybody: the virtual queues grow by compare-and-swap
 *   auto_bw                 everybody: there is no state
 */
#ifndef IPEQL_METHODS_H
#define IPEQL_METHODS_H

#define IPEQL_MAX_SLAVES 32
#define IPEQL_NO_SLAVE IPEQL_MAX_SLAVES
#define IPEQL_QUEUE_FULL (IPEQL_MAX_SLAVES + 1)
#define IPEQL_NSPB_SHIFT 16
#define IPEQL_HIGHEST 0x7fffffffffffffffLL
#define IPEQL_PACKET 1500 /* bytes that one packet stands for where packets are counted */
#define IPEQL_BITS_NS (8ULL * 1000000000) /* bit/s x ns in one byte */

/* On 64 bits; a kernel has its own names for them. */
#ifndef IPEQL_CMPXCHG
#define IPEQL_CMPXCHG(where, old, new) __sync_val_compare_and_swap(where, old, new)
#define IPEQL_ADD(where, value) __sync_fetch_and_add(where, value)
#endif

/* An index that the eBPF verifier knows to be within an array of IPEQL_MAX_SLAVES. */
#define IPEQL_AT(i) ((i) & (IPEQL_MAX_SLAVES - 1))

enum ipeql_method {
	IPEQL_ROUND_ROBIN,
	IPEQL_BW_LOAD,
	IPEQL_BW_POLL,
	IPEQL_BW_LAG,
	IPEQL_BW_LAG_VAL,
	IPEQL_AUTO_BW,
	IPEQL_BW_LAG_EQ,
	IPEQL_DUPLICATE,
};

/* When a slave gets packets. */
enum ipeql_use {
	IPEQL_USE_ALWAYS,
	IPEQL_USE_WHEN_FULL, /* while every slave that is always in use is full */
	IPEQL_USE_WHEN_DOWN, /* while no other is usable; the first that is */
};

/* What of a flow stays on one slave. */
enum ipeql_flows {
	IPEQL_NO_FLOWS,
	IPEQL_FLOW,    /* all of it */
	IPEQL_FLOWLET, /* packets that follow each other closely */
};

#define IPEQL_MAX_COPIES 8
#define IPEQL_CLASS_COPIES 2 /* over so many slaves a packet of a class is sent that is duplicated */
#define IPEQL_BUCKETS 65536 /* a flow's bucket is its hash modulo this */
#define IPEQL_TICK 32 /* ns: the units of a bucket's time; the slave is in the bits below */
#define IPEQL_LEAST_REST 1000000 /* ns: a flow that has rested for less stays where it is */

/* What a method knows of one slave; divisions were done by the control plane. */
struct ipeql_path {
	__u64 nspb;            /* ns a byte, 16.16 fixed point */
	__u64 lag;             /* ns */
	__u64 decay_quotient;  /* bw_poll: bandwidth x poll-interval, in whole bytes or packets */
	__u64 decay_remainder; /* and what is left of that division */
	__u32 weight;          /* share of the bandwidth, 16 bits of fraction */
	__u32 overhead;        /* bytes the wire adds to every packet */
};

/* One slave table as the methods see it, replaced as a whole. */
struct ipeql_parameters {
	__u32 method;
	__u32 count;             /* slaves */
	__u32 every;             /* the set of them all */
	__u32 packets_per_slave; /* round_robin */
	__u32 count_packets;     /* bw_load, bw_poll: packets rather than bytes */
	__u32 adjusted;          /* how often the paths have been adjusted, modulo 2^32 */
	__u32 when_full;         /* the slaves with this use, a bit each */
	__u32 when_down;
	__u32 flows;             /* enum ipeql_flows */
	__u32 ruled;             /* any of these three is not 0, or one of the five below */
	__u32 copies;            /* duplicate: over so many slaves every packet is sent */
	__u32 timed;             /* every slave gives bandwidth and lag */
	__u64 light_dscps;       /* bit d: a packet with DSCP d takes the slave that delivers first, */
	__u64 duplicate_dscps;   /* or the two that do */
	__u64 overflow_after;    /* virtual queue of a slave that counts as full */
	__u64 poll_interval;     /* bw_poll */
	__u64 queue_limit;       /* bw_lag_eq */
	__u64 max_hold;          /* bw_lag_eq */
	__u32 order[IPEQL_MAX_SLAVES]; /* indices in lag order */
	struct ipeql_path path[IPEQL_MAX_SLAVES];
};

struct ipeql_state {
	__s64 priority[IPEQL_MAX_SLAVES]; /* bw_load, bw_poll */
	__u64 busy[IPEQL_MAX_SLAVES];     /* bw_lag*: when the virtual queue drains */
	__u64 polled;                     /* bw_poll: when the priorities last decayed, 0: never */
	__u64 longest;                    /* bw_lag_eq: the lag that all packets are brought to */
	__u32 usable;                     /* the candidates that priorities and longest are of */
	__u32 among;                      /* bw_load, bw_poll: the set that sum is of */
	__u32 expected;                   /* bw_lag_eq: and those it waits for besides */
	__u32 paths;                      /* bw_lag_eq: the usable slaves within max_hold */
	__u32 sum;                        /* bw_load, bw_poll: of these slaves' weights */
	__u32 total;                      /* and of all candidates' */
	__u32 last;                       /* round_robin: the slave picked last */
	__u32 left;                       /* and how many packets it still gets */
	__u32 adjusted;                   /* bw_load, bw_poll, bw_lag_eq: what sum, longest are of */
};

/* A packet to be placed, and the decision. */
struct ipeql_packet {
	__u64 now;      /* CLOCK_MONOTONIC */
	__u32 length;   /* of the IP packet */
	__u32 segments; /* wire packets it becomes */
	__u32 header;   /* bytes each of them after the first repeats; for trains alone */
	__u32 expected; /* bw_lag_eq: slaves about to be usable, their next hop being asked for */
	__u32 among;    /* the slaves to choose from */
	__u32 kept;     /* the one that it is to take, IPEQL_NO_SLAVE: the method chooses */
	__u32 dscp;     /* that it carries, where the table has classes */
	volatile __u32 also; /* out: the slaves that get a copy at once, a bit each; where ruled */
	__u64 release;  /* out: when to hand it over; now unless bw_lag_eq holds it */
	/*
	 * The search for a minimum under way. The eBPF verifier would follow every course of local
	 * variables through the loop, and give up; what it reads from memory it takes for unknown.
	 */
	volatile __u64 least;
	volatile __u64 most;
	volatile __u32 best;
	__u32 light; /* bw_lag_eq: a pure acknowledgement or an ICMP echo */
	__u32 queued[IPEQL_MAX_SLAVES]; /* auto_bw: packets each slave has not sent yet */
};

static __always_inline __u32 ipeql_bytes(const struct ipeql_packet *packet)
{
	return packet->length + (packet->segments - 1) * packet->header;
}

/* Return the lowest member of a set that is not empty. */
static __always_inline __u32 ipeql_lowest(__u32 set)
{
	__u32 at = 0;

	if (!(set & 0xffff)) {
		set >>= 16;
		at += 16;
	}
	if (!(set & 0xff)) {
		set >>= 8;
		at += 8;
	}
	if (!(set & 0xf)) {
		set >>= 4;
		at += 4;
	}
	if (!(set & 3)) {
		set >>= 2;
		at += 2;
	}
	return at + !(set & 1);
}

static __always_inline __u32 ipeql_round_robin(const struct ipeql_parameters *table,
					       struct ipeql_state *state, __u32 usable)
{
	__u32 last = IPEQL_AT(state->last), later;

	/* None is left; fewer than none where two could take the last, as on PREEMPT_RT. */
	if (state->left - 1 >= table->packets_per_slave || !(usable >> last & 1)) {
		/* The next usable slave after the last one, or else the first. */
		later = usable & ~((2ULL << last) - 1);
		if (usable != table->every)
			last = ipeql_lowest(later ? later : usable);
		else if (++last >= table->count)
			last = 0;
		state->last = last;
		state->left = table->packets_per_slave;
	}
	state->left--;
	return last;
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
		/* total x bandwidth x interval / unit, split so that it stays within 64 bits */
		decay = state->total * table->path[i].decay_quotient +
			state->total * table->path[i].decay_remainder / unit;
		state->priority[i] = ipeql_decayed(state->priority[i], decay, times);
	}
}

static __always_inline __u32 ipeql_bw_load(const struct ipeql_parameters *table,
					   struct ipeql_state *state, struct ipeql_packet *packet)
{
	__s64 unit = table->count_packets ? 1 : ipeql_bytes(packet);
	__u32 among = packet->among;

	if (table->flows && table->method == IPEQL_BW_LOAD) {
		if (packet->kept < IPEQL_MAX_SLAVES)
			return packet->kept;
		unit = 1;
	}
	packet->least = IPEQL_HIGHEST;
	packet->best = 0;
	for (__u32 i = 0; i < IPEQL_MAX_SLAVES && i < table->count; i++) {
		if (!(among >> i & 1))
			continue;
		state->priority[i] -= table->path[i].weight * unit;
		if (state->priority[i] < (__s64)packet->least) {
			packet->least = state->priority[i];
			packet->best = i;
		}
	}
	if (packet->kept < IPEQL_MAX_SLAVES)
		packet->best = packet->kept;
	state->priority[IPEQL_AT(packet->best)] += unit * state->sum;
	return packet->best;
}

/* Return the time that slave i takes to send the packet. */
static __always_inline __u64 ipeql_tx(const struct ipeql_parameters *table, __u32 i,
				      const struct ipeql_packet *packet)
{
	const struct ipeql_path *path = &table->path[IPEQL_AT(i)];
	__u64 charge = ipeql_bytes(packet) + (__u64)packet->segments * path->overhead;

	return charge * path->nspb >> IPEQL_NSPB_SHIFT;
}

/* Return when slave i has sent the packet, were it given to it. */
static __always_inline __u64 ipeql_sent(const struct ipeql_parameters *table,
					const struct ipeql_state *state, __u32 i,
					const struct ipeql_packet *packet)
{
	__u64 drained = state->busy[IPEQL_AT(i)];

	return (drained > packet->now ? drained : packet->now) + ipeql_tx(table, i, packet);
}

/*
 * Put the packet into slave i's virtual queue. Where another CPU has put one there since the choice
 * was made, the queue is longer by both, though the choice knew only of one.
 */
static __always_inline void ipeql_queue(const struct ipeql_parameters *table,
					struct ipeql_state *state, __u32 i,
					const struct ipeql_packet *packet)
{
	__u64 *busy = &state->busy[IPEQL_AT(i)], drained = *busy;
	__u64 tx = ipeql_tx(table, i, packet);
	__u64 sent = (drained > packet->now ? drained : packet->now) + tx;

	if (IPEQL_CMPXCHG(busy, drained, sent) != drained)
		IPEQL_ADD(busy, tx);
}

static __always_inline __u32 ipeql_bw_lag(const struct ipeql_parameters *table,
					  struct ipeql_state *state, __u32 usable,
					  struct ipeql_packet *packet)
{
	packet->least = ~0ULL;
	packet->best = 0;
	for (__u32 k = 0; k < IPEQL_MAX_SLAVES && k < table->count; k++) {
		__u32 i = IPEQL_AT(table->order[k]);
		__u64 drained = state->busy[i];

		if (!(usable >> i & 1) || drained >= packet->least)
			continue;
		packet->least = drained;
		packet->best = i;
		if (drained <= packet->now)
			break;
	}
	ipeql_queue(table, state, packet->best, packet);
	return packet->best;
}

static __always_inline __u32 ipeql_bw_lag_val(const struct ipeql_parameters *table,
					      struct ipeql_state *state, __u32 usable,
					      struct ipeql_packet *packet)
{
	packet->least = ~0ULL;
	packet->best = 0;
	for (__u32 i = 0; i < IPEQL_MAX_SLAVES && i < table->count; i++) {
		__u64 arrival;

		if (!(usable >> i & 1))
			continue;
		arrival = ipeql_sent(table, state, i, packet) + table->path[i].lag;
		if (arrival < packet->least) {
			packet->least = arrival;
			packet->best = i;
		}
	}
	ipeql_queue(table, state, packet->best, packet);
	return packet->best;
}

static __always_inline __u32 ipeql_auto_bw(const struct ipeql_parameters *table, __u32 usable,
					   struct ipeql_packet *packet)
{
	packet->least = ~0ULL;
	packet->best = 0;
	for (__u32 k = 0; k < IPEQL_MAX_SLAVES && k < table->count; k++) {
		__u32 i = IPEQL_AT(table->order[k]);

		if (!(usable >> i & 1) || packet->queued[i] >= packet->least)
			continue;
		packet->least = packet->queued[i];
		packet->best = i;
	}
	return packet->best;
}

/* The eBPF verifier cannot follow a loop in a loop: there this is a function of its own. */
#ifndef IPEQL_FIND_NEXT
#define IPEQL_FIND_NEXT(table, set, packet) ipeql_find_next(table, set, packet)
#endif

/* Find which of `set` that has no copy yet delivers a packet first, if it is sent at once. */
static __always_inline void ipeql_find_next(const struct ipeql_parameters *table, __u32 set,
					    struct ipeql_packet *packet)
{
	packet->least = ~0ULL;
	packet->best = IPEQL_NO_SLAVE;
	for (__u32 i = 0; i < IPEQL_MAX_SLAVES && i < table->count; i++) {
		__u64 delivered;

		if (!((set & ~packet->also) >> i & 1))
			continue;
		delivered = table->timed ? ipeql_tx(table, i, packet) + table->path[i].lag : i;
		if (delivered < packet->least) {
			packet->least = delivered;
			packet->best = i;
		}
	}
}

/*
 * Find the slaves of `set` that deliver a packet first, if it is sent at once: return the first,
 * IPEQL_NO_SLAVE where there is none, and have the others in packet->also.
 */
static __always_inline __u32 ipeql_deliver(const struct ipeql_parameters *table, __u32 set,
					   __u32 copies, struct ipeql_packet *packet)
{
	__u32 first;

	packet->also = 0;
	IPEQL_FIND_NEXT(table, set, packet);
	first = packet->best;
	if (first >= IPEQL_MAX_SLAVES)
		return IPEQL_NO_SLAVE;
	for (__u32 copy = 1; copy < IPEQL_MAX_COPIES && copy < copies; copy++) {
		packet->also |= 1U << (packet->best & 31);
		IPEQL_FIND_NEXT(table, set, packet);
		if (packet->best >= IPEQL_MAX_SLAVES)
			break;
	}
	if (packet->best < IPEQL_MAX_SLAVES)
		packet->also |= 1U << (packet->best & 31);
	packet->also &= ~(1U << (first & 31));
	return first;
}

/* Put a packet into the virtual queues of all slaves that get a copy. */
static __always_inline void ipeql_queue_copies(const struct ipeql_parameters *table,
					       struct ipeql_state *queues,
					       const struct ipeql_packet *packet)
{
	for (__u32 i = 0; i < IPEQL_MAX_SLAVES && i < table->count; i++)
		if (packet->also >> i & 1)
			ipeql_queue(table, queues, i, packet);
}

/* Return over how many slaves a packet is sent at once; 0: it is placed as all are. */
static __always_inline __u32 ipeql_copies(const struct ipeql_parameters *table,
					  const struct ipeql_packet *packet)
{
	if (table->light_dscps >> (packet->dscp & 63) & 1)
		return 1;
	if (table->duplicate_dscps >> (packet->dscp & 63) & 1)
		return IPEQL_CLASS_COPIES;
	return table->method == IPEQL_DUPLICATE ? table->copies : 0;
}

/*
 * Send a packet that is not held over the slave where it arrives first: a light one before what
 * waits there, or behind it.
 */
static __always_inline __u32 ipeql_send_at_once(const struct ipeql_parameters *table,
						struct ipeql_state *state, __u32 behind,
						struct ipeql_packet *packet)
{
	__u32 among = state->paths & packet->among;

	if (packet->kept < IPEQL_MAX_SLAVES && (among >> packet->kept & 1))
		among = 1U << packet->kept;
	packet->least = ~0ULL;
	packet->best = IPEQL_QUEUE_FULL;
	for (__u32 i = 0; i < IPEQL_MAX_SLAVES && i < table->count; i++) {
		__u64 arrival;

		if (!(among >> i & 1) || state->busy[i] > packet->now + table->queue_limit)
			continue;
		arrival = behind ? ipeql_sent(table, state, i, packet) :
				   packet->now + ipeql_tx(table, i, packet);
		arrival += table->path[i].lag;
		if (arrival < packet->least) {
			packet->least = arrival;
			packet->best = i;
		}
	}
	if (packet->best != IPEQL_QUEUE_FULL)
		ipeql_queue(table, state, packet->best, packet);
	return packet->best;
}

static __always_inline __u32 ipeql_bw_lag_eq(const struct ipeql_parameters *table,
					     struct ipeql_state *state,
					     struct ipeql_packet *packet)
{
	__u32 best, among = state->paths & packet->among;
	__u64 start;

	if (table->ruled && ipeql_copies(table, packet)) {
		if (packet->kept >= IPEQL_MAX_SLAVES)
			return IPEQL_QUEUE_FULL;
		ipeql_queue_copies(table, state, packet);
		return ipeql_send_at_once(table, state, 1, packet);
	}
	if (table->flows || packet->light)
		return ipeql_send_at_once(table, state, table->flows, packet);
	packet->least = ~0ULL;
	packet->best = 0;
	for (__u32 i = 0; i < IPEQL_MAX_SLAVES && i < table->count; i++) {
		__u64 sent;

		if (!(among >> i & 1))
			continue;
		sent = ipeql_sent(table, state, i, packet);
		if (sent < packet->least) {
			packet->least = sent;
			packet->best = i;
		}
	}
	best = IPEQL_AT(packet->best);
	start = state->busy[best] > packet->now ? state->busy[best] : packet->now;
	if (start - packet->now > table->queue_limit)
		return IPEQL_QUEUE_FULL;
	state->busy[best] = packet->least;
	packet->release = start + state->longest - table->path[best].lag;
	return best;
}

/* Say whether what is kept of a usable set is of another one, or of other paths. */
static __always_inline int ipeql_is_outdated(const struct ipeql_parameters *table,
					     const struct ipeql_state *state, __u32 usable)
{
	return usable != state->usable || table->adjusted != state->adjusted;
}

/*
 * bw_load, bw_poll: start the priorities anew for other candidates. They stay where the paths have
 * been adjusted.
 */
static __always_inline void ipeql_share(const struct ipeql_parameters *table,
					struct ipeql_state *state, __u32 usable, __u32 among)
{
	int anew = usable != state->usable && table->adjusted == state->adjusted;

	state->usable = usable;
	state->among = among;
	state->adjusted = table->adjusted;
	state->sum = state->total = 0;
	for (__u32 i = 0; i < IPEQL_MAX_SLAVES && i < table->count; i++) {
		if (anew)
			state->priority[i] = 0;
		if (usable >> i & 1)
			state->total += table->path[i].weight;
		if (among >> i & 1)
			state->sum += table->path[i].weight;
	}
}

/* bw_load, bw_poll: take note of another usable set, of other paths or of other slaves to choose from. */
static __always_inline void ipeql_share_anew(const struct ipeql_parameters *table,
					     struct ipeql_state *state, __u32 usable,
					     const struct ipeql_packet *packet)
{
	if (ipeql_is_outdated(table, state, usable) || packet->among != state->among)
		ipeql_share(table, state, usable, packet->among);
}

static __always_inline __u32 ipeql_polled(const struct ipeql_parameters *table,
					  struct ipeql_state *state, __u32 usable,
					  struct ipeql_packet *packet)
{
	ipeql_share_anew(table, state, usable, packet);
	if (!usable)
		return IPEQL_NO_SLAVE;
	ipeql_poll(table, state, packet->now);
	return ipeql_bw_load(table, state, packet);
}

/*
 * bw_lag_eq: return the longest lag of a slave that is used beside these: max-hold more than the
 * lowest of those that are always in use, or of all where none of them is.
 */
static __always_inline __u64 ipeql_bound(const struct ipeql_parameters *table, __u32 candidates,
					 struct ipeql_packet *packet)
{
	__u32 first = candidates & ~(table->when_full | table->when_down);

	if (!first)
		first = candidates;
	packet->least = ~0ULL;
	for (__u32 i = 0; i < IPEQL_MAX_SLAVES && i < table->count; i++)
		if ((first >> i & 1) && table->path[i].lag < packet->least)
			packet->least = table->path[i].lag;
	return packet->least + table->max_hold;
}

/* bw_lag_eq: find the slaves within max_hold of the lowest lag, and the longest lag of these. */
static __always_inline void ipeql_equalise(const struct ipeql_parameters *table,
					   struct ipeql_state *state, __u32 usable, __u32 expected,
					   struct ipeql_packet *packet)
{
	__u64 bound = ipeql_bound(table, usable, packet);

	state->usable = usable;
	state->adjusted = table->adjusted;
	state->expected = expected;
	state->longest = state->paths = 0;
	for (__u32 i = 0; i < IPEQL_MAX_SLAVES && i < table->count; i++) {
		if (!((usable | expected) >> i & 1) || table->path[i].lag > bound)
			continue;
		if (usable >> i & 1)
			state->paths |= 1U << i;
		if (table->path[i].lag > state->longest)
			state->longest = table->path[i].lag;
	}
}

static __always_inline __u32 ipeql_equalised(const struct ipeql_parameters *table,
					     struct ipeql_state *state, __u32 usable,
					     struct ipeql_packet *packet)
{
	__u32 expected = packet->expected & ~usable & ~table->when_down;

	if (ipeql_is_outdated(table, state, usable) || expected != state->expected)
		ipeql_equalise(table, state, usable, expected, packet);
	return usable ? ipeql_bw_lag_eq(table, state, packet) : IPEQL_NO_SLAVE;
}

/*
 * Return the slaves that may get a packet while these are usable: those in use, and those that
 * overflow goes to; where there is none of them, the first that is for that.
 */
static __always_inline __u32 ipeql_candidates(const struct ipeql_parameters *table, __u32 usable)
{
	__u32 first;

	usable &= (1ULL << table->count) - 1;
	first = usable & ~table->when_down;
	return first ? first : usable & -usable;
}

/*
 * Return those of the candidates to choose from at this time: overflow has to wait until all others
 * are full. `queues` has the virtual queues.
 */
static __always_inline __u32 ipeql_in_use(const struct ipeql_parameters *table,
					  const struct ipeql_state *queues, __u32 candidates,
					  __u64 now)
{
	__u32 always = candidates & ~(table->when_full | table->when_down);
	__u64 bound = now + table->overflow_after;

	if (!table->when_full)
		return candidates;
	for (__u32 i = 0; i < IPEQL_MAX_SLAVES && i < table->count; i++)
		if ((always >> i & 1) && queues->busy[i] <= bound)
			return always;
	return candidates;
}

/* Return the largest difference of the candidates' lags. */
static __always_inline __u64 ipeql_spread(const struct ipeql_parameters *table, __u32 candidates,
					  struct ipeql_packet *packet)
{
	packet->least = ~0ULL;
	packet->most = 0;
	for (__u32 i = 0; i < IPEQL_MAX_SLAVES && i < table->count; i++) {
		if (!(candidates >> i & 1))
			continue;
		if (table->path[i].lag < packet->least)
			packet->least = table->path[i].lag;
		if (table->path[i].lag > packet->most)
			packet->most = table->path[i].lag;
	}
	return packet->most > packet->least ? packet->most - packet->least : 0;
}

/*
 * Return the slave that a flow is kept to, by what its bucket has, or IPEQL_NO_SLAVE: the method is
 * to choose. packet->among is set.
 */
static __always_inline __u32 ipeql_kept(const struct ipeql_parameters *table, __u64 bucket,
					__u32 candidates, struct ipeql_packet *packet)
{
	__u32 slave = IPEQL_AT(bucket);
	__u64 last = bucket - slave, rest;

	if (!bucket || !(packet->among >> slave & 1))
		return IPEQL_NO_SLAVE;
	if (table->flows == IPEQL_FLOW)
		return slave;
	rest = ipeql_spread(table, candidates, packet);
	if (rest < IPEQL_LEAST_REST)
		rest = IPEQL_LEAST_REST;
	return packet->now > last + rest ? IPEQL_NO_SLAVE : slave;
}

/* Return the slaves that may be sent one more packet at once, of those to choose from. */
static __always_inline __u32 ipeql_open(const struct ipeql_parameters *table,
					const struct ipeql_state *queues, __u32 candidates,
					struct ipeql_packet *packet)
{
	__u64 bound;

	packet->kept = packet->among; /* in memory, for the reason given above, until it is decided */
	if (table->method != IPEQL_BW_LAG_EQ)
		return packet->among;
	bound = ipeql_bound(table, candidates, packet);
	for (__u32 i = 0; i < IPEQL_MAX_SLAVES && i < table->count; i++)
		if (table->path[i].lag > bound ||
		    queues->busy[i] > packet->now + table->queue_limit)
			packet->kept &= ~(1U << i);
	return packet->kept;
}

/*
 * Say what a packet may take, where the table is ruled, before ipeql_pick(): returns the candidates
 * for it. `queues` has the virtual queues; `bucket` is the flow's, 0 where flows are not kept.
 */
static __always_inline __u32 ipeql_rule(const struct ipeql_parameters *table,
					const struct ipeql_state *queues, const __u64 *bucket,
					__u32 usable, struct ipeql_packet *packet)
{
	__u32 candidates = ipeql_candidates(table, usable), copies = ipeql_copies(table, packet);

	packet->among = ipeql_in_use(table, queues, candidates, packet->now);
	packet->kept = IPEQL_NO_SLAVE;
	packet->also = 0;
	if (copies)
		packet->kept = ipeql_deliver(table, ipeql_open(table, queues, candidates, packet),
					     copies, packet);
	else if (bucket)
		packet->kept = ipeql_kept(table, *bucket, candidates, packet);
	return candidates;
}

static __always_inline int ipeql_has_queues(const struct ipeql_parameters *table)
{
	return table->method == IPEQL_BW_LAG || table->method == IPEQL_BW_LAG_VAL ||
	       table->method == IPEQL_BW_LAG_EQ;
}

/* Place a packet as ipeql_pick() does, by a method that takes no lock. */
static __always_inline __u32 ipeql_pick_unlocked(const struct ipeql_parameters *table,
						 struct ipeql_state *state, __u32 candidates,
						 struct ipeql_packet *packet)
{
	__u32 among = packet->among, kept = packet->kept;

	packet->release = packet->now;
	if (table->method == IPEQL_BW_LOAD)
		ipeql_share_anew(table, state, candidates, packet);
	if (!among)
		return IPEQL_NO_SLAVE;
	if (table->method == IPEQL_BW_LOAD)
		return ipeql_bw_load(table, state, packet);
	if (kept < IPEQL_MAX_SLAVES) {
		if (ipeql_has_queues(table))
			ipeql_queue(table, state, kept, packet);
		return kept;
	}
	switch (table->method) {
	case IPEQL_ROUND_ROBIN:
		return ipeql_round_robin(table, state, among);
	case IPEQL_BW_LAG:
		return ipeql_bw_lag(table, state, among, packet);
	case IPEQL_BW_LAG_VAL:
		return ipeql_bw_lag_val(table, state, among, packet);
	}
	return ipeql_auto_bw(table, among, packet);
}

/*
 * Place one packet on one of packet->among, of the candidates, and account for it. Returns its
 * index, IPEQL_NO_SLAVE or IPEQL_QUEUE_FULL.
 */
static __always_inline __u32 ipeql_pick(const struct ipeql_parameters *table,
					struct ipeql_state *state, __u32 candidates,
					struct ipeql_packet *packet)
{
	packet->release = packet->now;
	if (table->method == IPEQL_BW_POLL)
		return ipeql_polled(table, state, candidates, packet);
	if (table->method == IPEQL_BW_LAG_EQ)
		return ipeql_equalised(table, state, candidates, packet);
	return ipeql_pick_unlocked(table, state, candidates, packet);
}

/* Note where a packet has gone, where the table is ruled, after ipeql_pick(). */
static __always_inline void ipeql_note(const struct ipeql_parameters *table,
				       struct ipeql_state *queues, __u64 *bucket, __u32 slave,
				       const struct ipeql_packet *packet)
{
	int queues_here = table->when_full && !ipeql_has_queues(table);

	if (slave >= IPEQL_MAX_SLAVES)
		return;
	if (bucket && !ipeql_copies(table, packet))
		*bucket = (packet->now & ~(IPEQL_TICK - 1ULL)) | slave;
	if (queues_here)
		ipeql_queue(table, queues, slave, packet);
	if (packet->also && table->method != IPEQL_BW_LAG_EQ &&
	    (queues_here || ipeql_has_queues(table)))
		ipeql_queue_copies(table, queues, packet);
}

/* Let a packet take any slave, where the table is not ruled. */
static __always_inline __u32 ipeql_allow(const struct ipeql_parameters *table, __u32 usable,
					 struct ipeql_packet *packet)
{
	packet->kept = IPEQL_NO_SLAVE;
	return packet->among = usable & ((1ULL << table->count) - 1);
}

static __always_inline void ipeql_begin(struct ipeql_state *state)
{
	__builtin_memset(state->priority, 0, sizeof(state->priority));
	state->polled = state->longest = 0;
	state->usable = state->expected = state->paths = state->sum = state->left = 0;
	state->among = state->total = 0;
	state->adjusted = 0;
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

	state->longest = IPEQL_MAX_SLAVES; /* until the end: how far back the last slave found is */
	state->last = IPEQL_AT(table->count - 1);
	for (__u32 i = 0; i < IPEQL_MAX_SLAVES; i++) {
		__u32 from = origin[i], back;

		state->busy[i] = 0;
		if (i >= table->count || from >= before->count)
			continue;
		if (queues)
			state->busy[i] = old->busy[IPEQL_AT(from)];
		if (table->method != IPEQL_ROUND_ROBIN || before->method != IPEQL_ROUND_ROBIN)
			continue;
		/* The last slave, or the nearest before it that stays. */
		back = old->last >= from ? old->last - from : old->last + before->count - from;
		if (back < state->longest) {
			state->longest = back;
			state->last = i;
		}
	}
	ipeql_begin(state);
}

/*
 * Let the buckets have the slaves' places in the table that replaces the one they are of; those of
 * slaves that are gone are emptied. origin as above.
 */
static __always_inline void ipeql_move_flows(const struct ipeql_parameters *table, __u64 *buckets,
					     const __u32 *origin)
{
	__u32 place[IPEQL_MAX_SLAVES];

	for (__u32 i = 0; i < IPEQL_MAX_SLAVES; i++)
		place[i] = IPEQL_NO_SLAVE;
	for (__u32 i = 0; i < table->count; i++)
		if (origin[i] < IPEQL_MAX_SLAVES)
			place[origin[i]] = i;
	for (__u32 k = 0; k < IPEQL_BUCKETS; k++) {
		__u32 slave = IPEQL_AT(buckets[k]);

		if (!buckets[k] || place[slave] >= IPEQL_MAX_SLAVES)
			buckets[k] = 0;
		else
			buckets[k] += (__u64)place[slave] - slave;
	}
}

#endif
