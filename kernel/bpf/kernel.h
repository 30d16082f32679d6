/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is read of the kernel's own structures; CO-RE finds the offsets. From Linux 6.2 on by plain
 * loads, whose faults the kernel catches; before, by bpf_probe_read_kernel(), which is a call.
 */
#ifndef IPEQL_KERNEL_H
#define IPEQL_KERNEL_H

#define LINK_UP (1 << 0)         /* __LINK_STATE_START of include/linux/netdevice.h */
#define LINK_NO_CARRIER (1 << 2) /* __LINK_STATE_NOCARRIER */
#define NETDEV_HASHENTRIES 256
#define TCQ_F_BUILTIN 1    /* include/net/sch_generic.h */
#define NUD_VALID 0xde     /* include/net/neighbour.h */
#define NUD_CONNECTED 0xc2 /* valid, and not to be asked for again yet */
#define NUD_FAILED 0x20
#define RTF_GATEWAY 0x2
#define RTCF_BROADCAST 0x10000000 /* include/uapi/linux/in_route.h */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct hlist_node {
	struct hlist_node *next;
};
struct hlist_head {
	struct hlist_node *first;
};
struct netns_ipv4 {
	bool fib_has_custom_rules;
};
struct net {
	struct hlist_head *dev_index_head;
	struct netns_ipv4 ipv4;
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
struct qdisc_skb_head {
	__u32 qlen;
};
struct Qdisc {
	unsigned int flags;
	struct qdisc_skb_head q;
};
struct dql {
	unsigned int num_queued;
	unsigned int num_completed;
};
struct netdev_queue {
	struct Qdisc *qdisc;
	struct dql dql;
};
struct net_device {
	unsigned long state;
	struct netdev_queue *_tx;
	unsigned int real_num_tx_queues;
	int ifindex;
	const unsigned char *dev_addr;
	possible_net_t nd_net;
	struct hlist_node index_hlist;
};
struct neigh_table {
	int family;
};
struct neighbour {
	struct neigh_table *tbl;
	__u8 nud_state;
	unsigned char ha[32];
	struct net_device *dev;
	__u8 primary_key[0];
};
struct sk_buff {
	unsigned long _skb_refdst;
};
struct rtable {
	unsigned int rt_flags;
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

/* Set by user space: bpf_rdonly_cast() is there. Where it is not, no call of it is left. */
const volatile bool casts = false;

extern void *bpf_rdonly_cast(const void *object, __u32 btf_id) __ksym __weak;

/* Read `member` of the kernel's `struct type` at an address; 0 where nothing can be read. */
#define load_kernel(type, address, member)                                                         \
	({                                                                                         \
		typeof(((struct type *)0)->member) value = 0;                                      \
		if (casts)                                                                         \
			value = ((struct type *)bpf_rdonly_cast(                                   \
					 (const void *)(address),                                  \
					 bpf_core_type_id_kernel(struct type)))                    \
					->member;                                                  \
		else                                                                               \
			read_kernel(&value, type, address, member);                                \
		value;                                                                             \
	})

/* The same of anything that is no number, into `to`. */
#define read_kernel(to, type, address, member)                                                     \
	bpf_probe_read_kernel(to, sizeof(*(to)),                                                   \
			      (const void *)(address) +                                            \
				      bpf_core_field_offset(struct type, member))

#endif
