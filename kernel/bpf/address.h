/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses of IPv4 and IPv6 in one form. */
#ifndef IPEQL_ADDRESS_H
#define IPEQL_ADDRESS_H

/* An IPv4 address is mapped into IPv6 (::ffff:a.b.c.d). */
struct address {
	union {
		__u32 word[4];
		__u64 half[2];
	};
};

static __always_inline struct address mapped(__be32 ipv4)
{
	return (struct address){ { .word = { 0, 0, bpf_htonl(0xffff), ipv4 } } };
}

static __always_inline bool is_ipv4(const struct address *address)
{
	return address->half[0] == 0 && address->word[2] == bpf_htonl(0xffff);
}

static __always_inline bool is_same(const struct address *one, const struct address *other)
{
	return one->half[1] == other->half[1] && one->half[0] == other->half[0];
}

#endif
