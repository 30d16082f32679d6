"""Names of links are bytes: whatever the kernel takes is enslaved and shown, on every dataplane."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ipeql.backends.base import Backend
from ipeql.backends.bpf import dataplane
from ipeql.backends.bpf.backend import BpfBackend
from ipeql.backends.tun.backend import TunBackend
from ipeql.documents.status import describe
from ipeql.observe import snapshot
from ipeql.reconcile import Reconciler
from ipeql.state import BundleSpec, DesiredState, Link, LinkMatch, SlaveSpec
from tests.netns.conftest import Namespace

pytestmark = pytest.mark.netns

ODD = {b"w\xffx": "w\\xffx", "wän.1".encode(): "wän.1", b"w\x1b[31m": "w\\x1b[31m", b"w\\": "w\\"}
"""Names as the kernel has them, and as people see them."""

MAKERS: dict[str, Callable[[Path], Backend]] = {
    "tun": TunBackend,
    "bpf": lambda runtime: BpfBackend(),
}


def names(namespace: Namespace) -> None:
    for number, name in enumerate(ODD):
        namespace.ip(f"link add e{number} type veth peer name far{number}")
        rename = [b"ip", b"-n", os.fsencode(namespace.name), b"link", b"set", b"dev"]
        subprocess.run([*rename, os.fsencode(f"e{number}"), b"name", name], check=True)
        namespace.ip(f"link set far{number} up")


@pytest.mark.parametrize("backend", MAKERS)
def test_any_bytes_can_be_a_slave(namespace: Namespace, tmp_path: Path, backend: str) -> None:
    if backend == "bpf" and (reason := dataplane.unavailable()):
        pytest.skip(reason)
    names(namespace)
    spec = BundleSpec("ipeql0", "round_robin", (SlaveSpec(match=LinkMatch(name="w*")),))
    desired = DesiredState({"ipeql0": spec})

    async def body() -> None:
        passes = Reconciler({backend: MAKERS[backend](tmp_path)}, snapshot, tmp_path)
        try:
            result = await passes.run(desired)
            assert result.problems == ()
            shown = describe(desired, result.observed, {}, (), daemon=True)["bundles"][0]
            assert {slave["name"] for slave in shown["slaves"]} == set(ODD.values())
            assert {slave["state"] for slave in shown["slaves"]} == {"active"}
            assert (await passes.run(desired)).actions == ()
        finally:
            await passes.destroy_all()

    namespace.run(body)


def test_a_slave_may_be_named_by_an_alternative_name(namespace: Namespace, tmp_path: Path) -> None:
    namespace.ip(
        "link add e1 type veth peer name far1",
        "link property add dev e1 altname lan-fibre",
        "link set far1 up",
    )
    slaves = (SlaveSpec("lan-fibre"), SlaveSpec("e1"))

    async def body() -> None:
        passes = Reconciler({"tun": TunBackend(tmp_path)}, snapshot, tmp_path)
        try:
            desired = DesiredState({"ipeql0": BundleSpec("ipeql0", "round_robin", slaves)})
            result = await passes.run(desired)
            table = result.observed.bundles["ipeql0"].table
            assert table
            assert [row.name for row in table.slaves] == ["e1"]  # once, though it is named twice
        finally:
            await passes.destroy_all()

    namespace.run(body)


def test_a_match_by_mac_means_the_card(namespace: Namespace) -> None:
    mac = "02:00:5e:00:00:07"
    namespace.ip(
        f"link add e1 address {mac} type veth peer name far1",
        f"link add br0 address {mac} type bridge",
    )

    async def body() -> None:
        links, _ = await snapshot()
        meant = LinkMatch(mac=mac)
        assert [link.name for link in links.values() if meant.fits(link)] == ["e1"]

    namespace.run(body)


def test_the_port_of_a_bond_is_known_by_its_permanent_address() -> None:
    first, second = "02:00:5e:00:00:07", "02:00:5e:00:00:08"
    ports = [Link(2, "e1", mac=first, card=first), Link(3, "e2", mac=first, card=second)]
    for mac, name in ((first, "e1"), (second, "e2")):
        meant = LinkMatch(mac=mac)
        assert [link.name for link in ports if meant.fits(link)] == [name]
