/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What follows from a table's configuration by arithmetic. */
#ifndef IPEQL_DERIVE_H
#define IPEQL_DERIVE_H

#include "methods.h"

/* What is given of a slave. */
struct ipeql_given {
	__u64 bandwidth; /* bit/s, 0: not given */
	bool has_lag;
	struct ipeql_path path; /* with what the methods take as it is given; the rest is derived */
};

void ipeql_derive(struct ipeql_parameters *parameters, const struct ipeql_given *given);

#endif
