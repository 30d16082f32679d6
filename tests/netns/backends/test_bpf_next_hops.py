"""Asking the kernel for next hops that it refuses on a slave, and for the others."""

import socket
import subprocess
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from ipeql.backends.bpf import next_hops
from ipeql.state import SlaveRow
from tests.netns.conftest import Namespace
from tests.netns.two_links import BUNDLE, TWO_LINKS

pytestmark = pytest.mark.netns

VIA, VIA6 = IPv4Address("10.7.7.2"), IPv6Address("fd00:7::2")


def test_a_slave_without_ipv6_keeps_no_other_from_being_asked(namespace: Namespace) -> None:
    namespace.ip(*TWO_LINKS, f"link add {BUNDLE} type veth peer name other")

    async def body() -> None:
        Path("/proc/sys/net/ipv6/conf/eth1/disable_ipv6").write_text("1")
        rows = [SlaveRow(11, "eth1", via=VIA, via6=VIA6), SlaveRow(12, "eth2", via=VIA, via6=VIA6)]
        await next_hops.resolve(socket.if_nametoindex(BUNDLE), rows)
        for link, versions in (("eth1", [VIA]), ("eth2", [VIA, VIA6])):
            ask = ("ip", "neigh", "show", "dev", link, "nud", "all")
            shown = subprocess.check_output(ask, text=True)
            assert [via for via in (VIA, VIA6) if f"{via} " in shown] == versions

    namespace.run(body)
