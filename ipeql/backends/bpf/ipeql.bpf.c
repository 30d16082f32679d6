/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The dataplane of one bundle. `stripe` runs at the egress of the bundle's device, chooses a slave
 * and redirects the packet there; packets whose next hop is not known to be resolved go through
 * `resolve` at the device's ingress; `neighbour_*` follow the kernel's neighbour tables.
 *
 * Packets that wait for a neighbour are sent by the neighbour code along the route they carry
 * (net/core/neighbour.c, neigh_update), which is the bundle's, not the slave's: they would be lost.
 * A packet that passes an ingress carries no route any more, so it may wait.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/types.h>
#include <stdbool.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "ipeql_methods.h"

#define AF_INET 2
#define AF_INET6 10
#define LINK_UP (1 << 0)         /* __LINK_STATE_START of include/linux/netdevice.h */
#define LINK_NO_CARRIER (1 << 2) /* __LINK_STATE_NOCARRIER */
#define NUD_VALID 0xde           /* include/net/neighbour.h */
#define NUD_FAILED 0x20
#define RTF_GATEWAY 0x2
#define NETDEV_HASHENTRIES 256
#define RETRY_NS 1000000000 /* one packet in this time goes to a neighbour that does not answer */
#define NEIGHBOURS 4096

char LICENSE[] SEC("license") = "GPL";

/* What is read of the kernel's own structures; CO-RE finds the offsets. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct hlist_node {
	struct hlist_node *next;
};
struct hlist_head {
	struct hlist_node *first;
};
struct net {
	struct hlist_head *dev_index_head;
};
struct nsproxy {
	struct net *net_ns;
};
struct task_struct {
	struct nsproxy *nsproxy;
};
typedef struct {
	struct net *net;
} possible_net_t;
struct net_device {
	unsigned long state;
	int ifindex;
	possible_net_t nd_net;
	struct hlist_node index_hlist;
};
struct neigh_table {
	int family;
};
struct neighbour {
	struct neigh_table *tbl;
	__u8 nud_state;
	struct net_device *dev;
	__u8 primary_key[0];
};
struct sk_buff {
	unsigned long _skb_refdst;
};
struct rtable {
	__u8 rt_gw_family;
	union {
		__be32 rt_gw4;
		struct in6_addr rt_gw6;
	};
};
struct rt6_info {
	struct in6_addr rt6i_gateway;
	__u32 rt6i_flags;
};
#pragma clang attribute pop

extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym;
extern void *bpf_rdonly_cast(const void *object, __u32 btf_id) __ksym;

/*
 * Set for the differential test alone: the clock is the packet's tstamp, the set to choose from
 * stands in cb, and so does the choice afterwards.
 */
const volatile bool injected = false;

/* An IPv4 address is mapped into IPv6 (::ffff:a.b.c.d). */
struct address {
	__u32 word[4];
};

/* How to reach a slave. */
struct slave {
	__u64 device; /* its struct net_device, 0: not looked at */
	__u32 ifindex;
	__u32 counters; /* its place in `counters`, which it keeps as long as it stays */
	__u32 resolves; /* its next hops have link-layer addresses, which take asking for */
	__u32 padding;
	struct address via;  /* next hop of IPv4 packets, all 0: none given */
	struct address via6; /* the same of IPv6 packets */
};

struct table {
	struct ipeql_parameters parameters;
	__u32 usable; /* by the word of whoever judges the slaves' health */
	__u32 padding;
	struct slave slave[IPEQL_MAX_SLAVES];
};

struct bundle {
	struct bpf_spin_lock lock;
	__u32 active;   /* which of the two tables is in force */
	__u32 trouble;  /* a slave cannot be used: look at all of them for every packet */
	__u32 padding;
	struct table table[2];
	struct ipeql_state state[2];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bundle);
} bundles SEC(".maps");

/* What `configure` is to put into force. */
struct incoming {
	struct table table;
	__u32 origin[IPEQL_MAX_SLAVES];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct incoming);
} incoming SEC(".maps");

struct counters {
	__u64 picks;
	__u64 packets;
	__u64 bytes;
	__u64 dropped; /* of the bundle: no slave was usable */
};

/* One for every slave, and the last for the bundle itself. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, IPEQL_MAX_SLAVES + 1);
	__type(key, __u32);
	__type(value, struct counters);
} counters SEC(".maps");

struct hop {
	__u32 ifindex;
	struct address address;
};

/* What the kernel knows of a next hop: 0: resolved, else when it was asked for or failed. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, NEIGHBOURS);
	__type(key, struct hop);
	__type(value, __u64);
} neighbours SEC(".maps");

/* The configuration in its own words, for whoever adopts the bundle. */
#define DOCUMENT 16384
struct document {
	__u8 text[DOCUMENT];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct document);
} document SEC(".maps");

/* The network namespace of the bundle; found by `locate`. */
struct net *home = 0;

static __always_inline struct address mapped(__be32 ipv4)
{
	return (struct address){ { 0, 0, bpf_htonl(0xffff), ipv4 } };
}

static __always_inline bool is_given(const struct address *address)
{
	return address->word[0] | address->word[1] | address->word[2] | address->word[3];
}

/* ---- the packet ---- */

struct view {
	struct ipeql_packet packet;
	struct address destination;
	__u32 ipv6;
	__u32 multicast;
	volatile __u32 running;   /* of the slaves usable by the table, those whose link is up */
	volatile __u32 reachable; /* and of these, those whose next hop is not waited for */
	__u32 padding;
	struct slave slave; /* the one chosen */
};

/* Return the bytes of the transport header that every segment of a train repeats. */
static __always_inline __u32 transport_header(struct __sk_buff *skb, __u32 offset, __u8 protocol)
{
	__u8 length;

	if (protocol == IPPROTO_UDP)
		return 8;
	if (protocol != IPPROTO_TCP || bpf_skb_load_bytes(skb, offset + 12, &length, 1))
		return 0;
	return (length >> 4) * 4;
}

static __always_inline int look_at(struct __sk_buff *skb, struct view *view)
{
	struct ipeql_packet *packet = &view->packet;

	packet->now = injected ? skb->tstamp : bpf_ktime_get_ns();
	packet->length = skb->len - ETH_HLEN;
	packet->segments = skb->gso_segs > 1 ? skb->gso_segs : 1;
	packet->header = 0;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
			return -1;
		view->ipv6 = 0;
		view->destination = mapped(ip.daddr);
		view->multicast = (ip.daddr & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000) ||
				  ip.daddr == bpf_htonl(0xffffffff);
		if (packet->segments > 1)
			packet->header = ip.ihl * 4 + transport_header(skb, ETH_HLEN + ip.ihl * 4,
								       ip.protocol);
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr ip;

		if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
			return -1;
		view->ipv6 = 1;
		__builtin_memcpy(&view->destination, &ip.daddr, sizeof(view->destination));
		view->multicast = ip.daddr.s6_addr[0] == 0xff;
		if (packet->segments > 1)
			packet->header = sizeof(ip) + transport_header(skb, ETH_HLEN + sizeof(ip),
								       ip.nexthdr);
	} else {
		return -1;
	}
	return 0;
}

/* Replace the destination by the gateway of the route that the packet carries, if there is one. */
static __always_inline void find_gateway(struct __sk_buff *skb, struct view *view)
{
	struct sk_buff *kernel = bpf_cast_to_kern_ctx(skb);
	void *route = (void *)(kernel->_skb_refdst & ~1UL);

	if (!route)
		return;
	if (view->ipv6) {
		struct rt6_info *route6 =
			bpf_rdonly_cast(route, bpf_core_type_id_kernel(struct rt6_info));

		if (route6->rt6i_flags & RTF_GATEWAY)
			bpf_core_read(&view->destination, sizeof(view->destination),
				      &route6->rt6i_gateway);
	} else {
		struct rtable *route4 =
			bpf_rdonly_cast(route, bpf_core_type_id_kernel(struct rtable));

		if (route4->rt_gw_family == AF_INET)
			view->destination = mapped(route4->rt_gw4);
		else if (route4->rt_gw_family == AF_INET6)
			bpf_core_read(&view->destination, sizeof(view->destination),
				      &route4->rt_gw6);
	}
}

/* ---- the slaves ---- */

static __always_inline bool is_running(const struct slave *slave)
{
	struct net_device *device;

	if (!slave->device)
		return true;
	device = bpf_rdonly_cast((void *)slave->device,
				 bpf_core_type_id_kernel(struct net_device));
	/* What was freed may be anything by now, but not this interface. */
	return device->ifindex == (int)slave->ifindex &&
	       (device->state & (LINK_UP | LINK_NO_CARRIER)) == LINK_UP;
}

static __always_inline struct hop next_hop(const struct slave *slave, const struct view *view)
{
	const struct address *via = view->ipv6 ? &slave->via6 : &slave->via;

	return (struct hop){ slave->ifindex, is_given(via) ? *via : view->destination };
}

enum reach { RESOLVED, UNKNOWN, WAITING };

/* Say what is known of a packet's next hop on a slave. */
static __always_inline enum reach reach_of(const struct slave *slave, const struct view *view)
{
	struct hop hop;
	__u64 *asked;

	if (!slave->resolves || view->multicast)
		return RESOLVED;
	hop = next_hop(slave, view);
	asked = bpf_map_lookup_elem(&neighbours, &hop);
	if (!asked)
		return UNKNOWN;
	if (!*asked)
		return RESOLVED;
	return view->packet.now - *asked < RETRY_NS ? WAITING : UNKNOWN;
}

/* Let the slave rest until its next hop is resolved: this packet is about to ask for it. */
static __always_inline void ask(const struct slave *slave, const struct view *view)
{
	struct hop hop = next_hop(slave, view);
	__u64 now = view->packet.now, *asked = bpf_map_lookup_elem(&neighbours, &hop), before;

	if (!asked) {
		bpf_map_update_elem(&neighbours, &hop, &now, BPF_NOEXIST);
		return;
	}
	before = *asked;
	if (before)
		__sync_val_compare_and_swap(asked, before, now);
}

/*
 * Return the set of slaves that a packet can take, of those that the table calls usable. Global, so
 * that the verifier looks at it once; the sets live in `view` for the reason given in the header.
 */
__noinline __u32 survey(struct view *view)
{
	__u32 zero = 0;
	struct bundle *bundle = bpf_map_lookup_elem(&bundles, &zero);
	const struct table *table;

	if (!bundle || !view)
		return 0;
	table = &bundle->table[bundle->active & 1];
	view->running = view->reachable = 0;
	for (__u32 i = 0; i < IPEQL_MAX_SLAVES && i < table->parameters.count; i++) {
		const struct slave *slave = &table->slave[i];

		if (!(table->usable >> i & 1) || !is_running(slave))
			continue;
		view->running |= 1U << i;
		if (reach_of(slave, view) != WAITING)
			view->reachable |= 1U << i;
	}
	if (!view->reachable)
		view->reachable = view->running;
	bundle->trouble = view->reachable != table->usable;
	return view->reachable;
}

/* Choose one of the slaves of `set` and copy it, in one step with the account of it. */
__noinline __u32 choose(struct view *view, __u32 set)
{
	__u32 zero = 0, index = IPEQL_NO_SLAVE, at;
	struct bundle *bundle = bpf_map_lookup_elem(&bundles, &zero);
	struct ipeql_state *state;
	struct table *table;

	if (!bundle || !view)
		return IPEQL_NO_SLAVE;
	bpf_spin_lock(&bundle->lock);
	table = &bundle->table[bundle->active & 1];
	state = &bundle->state[bundle->active & 1];
	set &= table->usable;
	if (view->multicast) {
		for (__u32 i = 0; i < IPEQL_MAX_SLAVES; i++)
			if (set >> i & 1) {
				index = i;
				break;
			}
	} else {
		index = ipeql_pick(&table->parameters, state, set, &view->packet);
	}
	if (index < IPEQL_MAX_SLAVES) {
		at = index;
		barrier_var(at); /* or clang drops the mask that the verifier wants to see */
		view->slave = table->slave[IPEQL_AT(at)];
	}
	bpf_spin_unlock(&bundle->lock);
	return index;
}

static __always_inline int redirect(const struct hop *hop)
{
	struct bpf_redir_neigh next = {};

	if (hop->address.word[0] == 0 && hop->address.word[1] == 0 &&
	    hop->address.word[2] == bpf_htonl(0xffff)) {
		next.nh_family = AF_INET;
		next.ipv4_nh = hop->address.word[3];
	} else {
		next.nh_family = AF_INET6;
		__builtin_memcpy(next.ipv6_nh, &hop->address, sizeof(hop->address));
	}
	return bpf_redirect_neigh(hop->ifindex, &next, sizeof(next), 0);
}

static __always_inline void count(__u32 index, const struct ipeql_packet *packet)
{
	struct counters *counter = bpf_map_lookup_elem(&counters, &index);

	if (!counter)
		return;
	if (index == IPEQL_MAX_SLAVES) {
		counter->dropped += packet->segments;
		return;
	}
	counter->picks++;
	counter->packets += packet->segments;
	counter->bytes += ipeql_bytes(packet);
}

SEC("tc")
int stripe(struct __sk_buff *skb)
{
	__u32 zero = 0, index;
	struct bundle *bundle = bpf_map_lookup_elem(&bundles, &zero);
	enum reach reach = UNKNOWN;
	struct view view = {};
	struct hop hop;

	if (!bundle || look_at(skb, &view))
		return TC_ACT_SHOT;
	if (injected) {
		skb->cb[0] = choose(&view, skb->cb[0]);
		return TC_ACT_OK;
	}
	find_gateway(skb, &view);
	index = choose(&view, bundle->trouble ? survey(&view) : ~0U);
	if (index < IPEQL_MAX_SLAVES) {
		reach = reach_of(&view.slave, &view);
		if (reach == WAITING || !is_running(&view.slave)) {
			index = choose(&view, survey(&view));
			reach = reach_of(&view.slave, &view);
		}
	}
	if (index >= IPEQL_MAX_SLAVES) {
		count(IPEQL_MAX_SLAVES, &view.packet);
		return TC_ACT_SHOT;
	}
	count(view.slave.counters, &view.packet);
	hop = next_hop(&view.slave, &view);
	/* bpf_redirect_neigh drops frames to a group; it writes the address anew anyway. */
	if (view.multicast)
		bpf_skb_store_bytes(skb, 0, (__u8[ETH_ALEN]){ 0 }, ETH_ALEN, 0);
	if (reach == RESOLVED)
		return redirect(&hop);
	if (reach == UNKNOWN)
		ask(&view.slave, &view);
	skb->cb[0] = hop.ifindex;
	skb->cb[1] = hop.address.word[0];
	skb->cb[2] = hop.address.word[1];
	skb->cb[3] = hop.address.word[2];
	skb->cb[4] = hop.address.word[3];
	return bpf_redirect(skb->ifindex, BPF_F_INGRESS);
}

SEC("tc")
int resolve(struct __sk_buff *skb)
{
	struct hop hop = { skb->cb[0], { { skb->cb[1], skb->cb[2], skb->cb[3], skb->cb[4] } } };

	return redirect(&hop);
}

/* ---- the neighbours ---- */

static __always_inline bool hop_of(struct neighbour *neighbour, struct hop *hop)
{
	struct net_device *device = neighbour->dev;
	__u8 *key = (void *)neighbour + bpf_core_field_offset(neighbour->primary_key);
	__be32 ipv4;

	if (device->nd_net.net != home)
		return false;
	hop->ifindex = device->ifindex;
	if (neighbour->tbl->family == AF_INET6)
		return !bpf_probe_read_kernel(&hop->address, sizeof(hop->address), key);
	if (neighbour->tbl->family != AF_INET || bpf_probe_read_kernel(&ipv4, sizeof(ipv4), key))
		return false;
	hop->address = mapped(ipv4);
	return true;
}

static __always_inline int learn(struct neighbour *neighbour)
{
	struct hop hop;
	__u64 state = 0;

	if (!hop_of(neighbour, &hop))
		return 0;
	if (neighbour->nud_state & NUD_FAILED)
		state = bpf_ktime_get_ns();
	if (neighbour->nud_state & (NUD_VALID | NUD_FAILED))
		bpf_map_update_elem(&neighbours, &hop, &state, BPF_ANY);
	return 0;
}

SEC("tp_btf/neigh_update_done")
int BPF_PROG(neighbour_updated, struct neighbour *neighbour)
{
	return learn(neighbour);
}

SEC("tp_btf/neigh_timer_handler")
int BPF_PROG(neighbour_timed, struct neighbour *neighbour)
{
	return learn(neighbour);
}

SEC("tp_btf/neigh_cleanup_and_release")
int BPF_PROG(neighbour_gone, struct neighbour *neighbour)
{
	struct hop hop;

	if (hop_of(neighbour, &hop))
		bpf_map_delete_elem(&neighbours, &hop);
	return 0;
}

/* ---- run by the control plane ---- */

/* Put `incoming` into force in one step. */
SEC("tc")
int configure(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct bundle *bundle = bpf_map_lookup_elem(&bundles, &zero);
	struct incoming *wanted = bpf_map_lookup_elem(&incoming, &zero);

	if (!bundle || !wanted)
		return TC_ACT_SHOT;
	bpf_spin_lock(&bundle->lock);
	__u32 now = bundle->active & 1, next = now ^ 1;
	struct table *table = &bundle->table[next];

	table->usable = wanted->table.usable;
	table->parameters.method = wanted->table.parameters.method;
	table->parameters.count = wanted->table.parameters.count;
	table->parameters.packets_per_slave = wanted->table.parameters.packets_per_slave;
	table->parameters.count_packets = wanted->table.parameters.count_packets;
	table->parameters.poll_interval = wanted->table.parameters.poll_interval;
	for (__u32 i = 0; i < IPEQL_MAX_SLAVES; i++) {
		table->parameters.order[i] = wanted->table.parameters.order[i];
		table->parameters.path[i] = wanted->table.parameters.path[i];
		table->slave[i] = wanted->table.slave[i];
	}
	ipeql_inherit(&table->parameters, &bundle->state[next], &bundle->table[now].parameters,
		      &bundle->state[now], wanted->origin);
	bundle->active = next;
	bundle->trouble = 1;
	bpf_spin_unlock(&bundle->lock);
	return TC_ACT_OK;
}

struct location {
	__u32 ifindex;
	__u32 padding;
	__u64 device; /* out: its struct net_device, 0: there is none */
};

/* Find an interface in the caller's network namespace, which becomes the bundle's. */
SEC("syscall")
int locate(struct location *location)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct hlist_head *bucket;
	struct hlist_node *node = 0;

	home = BPF_CORE_READ(task, nsproxy, net_ns);
	bucket = BPF_CORE_READ(home, dev_index_head) + location->ifindex % NETDEV_HASHENTRIES;
	bpf_probe_read_kernel(&node, sizeof(node), bucket);
	location->device = 0;
	for (int i = 0; i < 256 && node; i++) {
		struct net_device *device =
			(void *)node - bpf_core_field_offset(struct net_device, index_hlist);

		if (BPF_CORE_READ(device, ifindex) == (int)location->ifindex) {
			location->device = (__u64)device;
			return 0;
		}
		node = BPF_CORE_READ(node, next);
	}
	return 0;
}
