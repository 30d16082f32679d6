// SPDX-License-Identifier: GPL-2.0-or-later
/* IPEQL: one network interface over several unequal ones. */
#include <linux/module.h>
#include <net/genetlink.h>

#include "device.h"
#include "ipeql_netlink.h"
#include "netlink.h"

static int __init ipeql_init(void)
{
	int err = ipeql_device_register();

	if (err)
		return err;
	err = ipeql_netlink_register();
	if (err)
		ipeql_device_unregister();
	return err;
}

static void __exit ipeql_exit(void)
{
	ipeql_netlink_unregister();
	ipeql_device_unregister();
}

module_init(ipeql_init);
module_exit(ipeql_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("IPEQL: stripes IP packets over several unequal links");
MODULE_VERSION(IPEQL_VERSION);
MODULE_ALIAS_RTNL_LINK(KBUILD_MODNAME);
MODULE_ALIAS_GENL_FAMILY(IPEQL_FAMILY_NAME);
