"""The generic netlink family of the module: its messages, and the socket that carries them.

Names and numbers are those of kernel/module/ipeql_netlink.h, which says what everything means.
"""

import errno
from collections.abc import Mapping
from typing import Any, Self

from pyroute2.netlink import NLA_F_NESTED, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, genlmsg, nla
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.generic import AsyncGenericNetlinkSocket

FAMILY = "ipeql"
VERSION = 4
"""IPEQL_FAMILY_VERSION, which the kernel tells whoever looks for the family."""

BUNDLE_GET, BUNDLE_SET, BUNDLE_ADJUST = 1, 2, 3

METHODS = (
    "round_robin",
    "bw_load",
    "bw_poll",
    "bw_lag",
    "bw_lag_val",
    "auto_bw",
    "bw_lag_eq",
    "duplicate",
)
"""In the order of ``enum ipeql_method``."""

COUNTS = ("bytes", "packets")
"""In the order of ``enum ipeql_count``."""

STRIPE_UNITS = ("burst", "packet", "flow", "flowlet")
"""In the order of ``enum ipeql_stripe_unit``."""

RECEIVERS = ("bundle", "slave")
"""In the order of ``enum ipeql_receive``."""

SLAVE = "IPEQL_A_BUNDLE_SLAVE"

Attributes = list[tuple[str, Any]]
"""Attributes by name, in order; a nest is ``{"attrs": [...]}``."""


class BundleMessage(genlmsg):  # type: ignore[misc]
    """IPEQL_CMD_BUNDLE_GET, IPEQL_CMD_BUNDLE_SET and IPEQL_CMD_BUNDLE_ADJUST."""

    prefix = "IPEQL_A_BUNDLE_"
    nla_map = (
        ("IPEQL_A_BUNDLE_UNSPEC", "none"),
        ("IPEQL_A_BUNDLE_IFINDEX", "uint32"),
        ("IPEQL_A_BUNDLE_IFNAME", "asciiz"),
        ("IPEQL_A_BUNDLE_METHOD", "uint32"),
        ("IPEQL_A_BUNDLE_PACKETS_PER_SLAVE", "uint32"),
        ("IPEQL_A_BUNDLE_COUNT", "uint32"),
        ("IPEQL_A_BUNDLE_POLL_INTERVAL", "uint64"),
        ("IPEQL_A_BUNDLE_QUEUE_LIMIT", "uint64"),
        ("IPEQL_A_BUNDLE_MAX_HOLD", "uint64"),
        ("IPEQL_A_BUNDLE_OVERFLOW_AFTER", "uint64"),
        ("IPEQL_A_BUNDLE_COPIES", "uint32"),
        ("IPEQL_A_BUNDLE_LIGHT_DSCPS", "uint64"),
        ("IPEQL_A_BUNDLE_DUPLICATE_DSCPS", "uint64"),
        ("IPEQL_A_BUNDLE_STRIPE_UNIT", "uint32"),
        ("IPEQL_A_BUNDLE_RECEIVE", "uint32"),
        ("IPEQL_A_BUNDLE_SLAVE", "Slave"),
        ("IPEQL_A_BUNDLE_NO_SLAVE", "uint64"),
        ("IPEQL_A_BUNDLE_QUEUE_FULL", "uint64"),
        ("IPEQL_A_BUNDLE_MALFORMED", "uint64"),
        ("IPEQL_A_BUNDLE_NO_NEIGHBOUR", "uint64"),
        ("IPEQL_A_BUNDLE_PAD", "none"),
    )

    class Slave(nla):  # type: ignore[misc]
        """One slave."""

        prefix = "IPEQL_A_SLAVE_"
        nla_flags = NLA_F_NESTED
        nla_map = (
            ("IPEQL_A_SLAVE_UNSPEC", "none"),
            ("IPEQL_A_SLAVE_IFINDEX", "uint32"),
            ("IPEQL_A_SLAVE_IFNAME", "cdata"),
            ("IPEQL_A_SLAVE_BANDWIDTH", "uint64"),
            ("IPEQL_A_SLAVE_LAG", "uint64"),
            ("IPEQL_A_SLAVE_OVERHEAD", "uint32"),
            ("IPEQL_A_SLAVE_VIA", "ip4addr"),
            ("IPEQL_A_SLAVE_VIA6", "ip6addr"),
            ("IPEQL_A_SLAVE_USABLE", "uint8"),
            ("IPEQL_A_SLAVE_USE", "uint32"),
            ("IPEQL_A_SLAVE_RUNNING", "uint8"),
            ("IPEQL_A_SLAVE_PICKS", "uint64"),
            ("IPEQL_A_SLAVE_PACKETS", "uint64"),
            ("IPEQL_A_SLAVE_BYTES", "uint64"),
            ("IPEQL_A_SLAVE_RECEIVES", "uint8"),
            ("IPEQL_A_SLAVE_RECEIVED_PACKETS", "uint64"),
            ("IPEQL_A_SLAVE_RECEIVED_BYTES", "uint64"),
            ("IPEQL_A_SLAVE_HELD_PACKETS", "uint32"),
            ("IPEQL_A_SLAVE_HELD_BYTES", "uint32"),
            ("IPEQL_A_SLAVE_QUEUE_FULL", "uint64"),
            ("IPEQL_A_SLAVE_LINK_FULL", "uint64"),
            ("IPEQL_A_SLAVE_NO_NEIGHBOUR", "uint64"),
            ("IPEQL_A_SLAVE_NO_MEMORY", "uint64"),
            ("IPEQL_A_SLAVE_PAD", "none"),
        )


class OtherVersionError(NetlinkError):  # type: ignore[misc]
    """The loaded module has another version of the family."""

    def __init__(self, version: int) -> None:
        message = f"the loaded module has version {version} of its interface, not {VERSION}"
        super().__init__(errno.EPROTONOSUPPORT, message)


class Family(AsyncGenericNetlinkSocket):  # type: ignore[misc]
    """A socket of the family, in the caller's network namespace; an async context manager.

    Entering and asking raise NetlinkError; ENOTSUP (ENOENT): the module is not loaded. Entering
    raises OtherVersionError where it is not of our version.
    """

    module_err_level = "debug"

    def __init__(self) -> None:
        super().__init__(ext_ack=True)

    async def __aenter__(self) -> Self:
        """Find the family."""
        await self.setup_endpoint()
        try:
            await self.bind(FAMILY, BundleMessage)
        except BaseException:
            self.close()
            raise
        return self

    async def discovery(self, proto: str) -> Any:
        """Find the family, and refuse one of another version."""
        found = await super().discovery(proto)
        version = found.get_attr("CTRL_ATTR_VERSION")
        if version != VERSION:
            raise OtherVersionError(version)
        return found

    async def bundles(self) -> list[Any]:
        """Return every bundle of the network namespace as a message."""
        return await self._ask(BUNDLE_GET, NLM_F_REQUEST | NLM_F_DUMP, [])

    async def bundle(self, name: str) -> Any:
        """Return one bundle as a message; NetlinkError ENODEV where it is none."""
        (message,) = await self._ask(
            BUNDLE_GET, NLM_F_REQUEST | NLM_F_ACK, [("IPEQL_A_BUNDLE_IFNAME", name)]
        )
        return message

    async def set(self, name: str, attributes: Attributes) -> None:
        """Replace a bundle's whole table."""
        named = [("IPEQL_A_BUNDLE_IFNAME", name), *attributes]
        await self._ask(BUNDLE_SET, NLM_F_REQUEST | NLM_F_ACK, named)

    async def adjust(self, name: str, attributes: Attributes) -> None:
        """Replace all that a bundle's slaves are adjusted by."""
        named = [("IPEQL_A_BUNDLE_IFNAME", name), *attributes]
        await self._ask(BUNDLE_ADJUST, NLM_F_REQUEST | NLM_F_ACK, named)

    async def _ask(self, command: int, flags: int, attributes: Attributes) -> list[Any]:
        message = BundleMessage()
        message["cmd"], message["version"] = command, VERSION
        message["attrs"] = attributes
        return [reply async for reply in await self.nlm_request(message, self.prid, flags)]


def values(message: Any) -> Mapping[str, Any]:
    """Return the attributes of a message or nest that occur once."""
    return {name: value for name, value in message["attrs"] if name != SLAVE}
