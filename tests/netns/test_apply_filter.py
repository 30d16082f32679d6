"""The reverse path filter of a slave: loosened, named, left alone, restored."""

import json
import sys
from pathlib import Path

import pytest

from ipeql.errors import Code
from ipeql.state import (
    BundleSpec,
    SlaveSpec,
)
from tests.netns.conftest import Namespace
from tests.netns.passes import (
    BUNDLE,
    LINKS,
    WIRE,
    codes,
    links,
    make_strict,
    reconciler,
    rp_filter,
    wanted,
)

pytestmark = pytest.mark.netns


def test_a_link_without_ipv4_settings_has_no_filter_to_change(
    namespace: Namespace, tmp_path: Path
) -> None:
    namespace.ip(*LINKS, "link add eth9 type ifb", "link set eth9 mtu 60")

    async def body() -> None:
        make_strict("all")
        async with reconciler(tmp_path) as passes:
            bundle = BundleSpec("ipeql1", "round_robin", (SlaveSpec("eth9"),))
            result = await passes.run(wanted(bundle))
            assert (await links())["eth9"].rp_filter is None
            assert not [p for p in result.problems if p.code is Code.NOT_IN_SYNC]

    namespace.run(body)


READ_ONLY = """
mount -o bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys || exit 1
if (echo 0 >/proc/sys/net/ipv4/conf/eth1/rp_filter) 2>/dev/null; then exit 1; fi
exec "$0" -c "
import socket
from ipeql.apply import ipv4
ipv4.change(socket.if_nametoindex('eth1'), ipv4.Setting.RP_FILTER, 2)"
"""


def test_a_filter_is_set_where_proc_sys_is_read_only(namespace: Namespace) -> None:
    namespace.ip(*LINKS)
    unshare = ("unshare", "--mount", "--propagation", "private", "sh", "-c", READ_ONLY)
    namespace.run_program(*unshare, sys.executable)

    async def body() -> None:
        assert (await links())["eth1"].rp_filter == 2

    namespace.run(body)


def test_a_filter_that_is_stricter_everywhere_is_named(
    namespace: Namespace, tmp_path: Path
) -> None:
    namespace.ip(*LINKS)

    async def body() -> None:
        make_strict("all")
        async with reconciler(tmp_path) as passes:
            slaves = (SlaveSpec("eth1"),)
            bundle = BundleSpec("ipeql0", "round_robin", slaves, receive="slave")
            result = await passes.run(wanted(bundle))
            assert codes(result) == [Code.FILTER_EVERYWHERE]
            assert "net.ipv4.conf.all.rp_filter=0" in result.problems[0].help

    namespace.run(body)


def test_a_slave_s_filter_is_left_where_others_changed_it(
    namespace: Namespace, tmp_path: Path
) -> None:
    namespace.ip(*LINKS, "addr add 10.77.1.1/24 dev eth1")

    async def body() -> None:
        make_strict("eth1")
        Path("/proc/sys/net/ipv4/conf", WIRE, "rp_filter").write_text("0")
        async with reconciler(tmp_path) as passes:
            await passes.run(wanted(BUNDLE))
            assert (rp_filter("eth1"), rp_filter(WIRE)) == (2, 0)
            saved = json.loads((tmp_path / "saved-slaves.json").read_text())
            assert [slave["rp_filter"] for slave in saved["slaves"]] == [[1, 2], None]
            make_strict("eth1")
            result = await passes.run(wanted(BUNDLE))
            assert [str(action) for action in result.actions] == [
                "~ slave eth1 of ipeql0: rp_filter 1 -> 2"
            ]
            Path("/proc/sys/net/ipv4/conf/eth1/rp_filter").write_text("0")
        assert (rp_filter("eth1"), rp_filter(WIRE)) == (0, 0)

    namespace.run(body)
