"""Whose a device and an address are: what others do to them, and what a pass does then."""

import asyncio
from dataclasses import replace
from ipaddress import IPv6Address, ip_interface
from pathlib import Path

import pytest

from ipeql.backends.base import Backend
from ipeql.backends.bpf import dataplane
from ipeql.backends.bpf.backend import BpfBackend
from ipeql.backends.tun.backend import TunBackend
from ipeql.observe import snapshot
from ipeql.plan import Receive
from ipeql.reconcile import Reconciler
from ipeql.state import BundleSpec, DesiredState, Link, SlaveSpec
from tests.netns.conftest import Namespace

pytestmark = pytest.mark.netns

LINKS = (
    "link add eth1 type veth peer name far1",
    "link set eth1 up",
    "link set far1 up",
)
BUNDLE = BundleSpec(
    "ipeql0",
    "round_robin",
    (SlaveSpec("eth1", via6=IPv6Address("fe80::1")),),
    addresses=(ip_interface("10.9.0.1/24"), ip_interface("fd00:9::1/64")),
)


def wanted(*bundles: BundleSpec) -> DesiredState:
    return DesiredState({bundle.name: bundle for bundle in bundles})


def backend(kind: str, directory: Path) -> Backend:
    if kind == "tun":
        return TunBackend(directory)
    if reason := dataplane.unavailable():
        pytest.skip(reason)
    return BpfBackend()


async def link(name: str) -> Link:
    links, _ = await snapshot()
    return next(link for link in links.values() if link.name == name)


def ipv4(link: Link) -> set[str]:
    return {str(address) for address in link.addresses if address.version == 4}


@pytest.mark.parametrize("kind", ["tun", "bpf"])
def test_a_renamed_device_is_found_and_gets_its_name_back(
    namespace: Namespace, tmp_path: Path, kind: str
) -> None:
    namespace.ip(*LINKS)

    async def body() -> None:
        able = backend(kind, tmp_path)
        passes = Reconciler({kind: able}, snapshot, tmp_path)
        try:
            await passes.run(wanted(BUNDLE))
            before = await link("ipeql0")
            assert (before.owner, before.alias) == ("ipeql0", "")
            for name in ("uplink0", "a.b"):
                await asyncio.to_thread(
                    namespace.ip,
                    'link set ipeql0 alias "uplink to the exchange"',
                    f"link set ipeql0 name {name}",
                )
                result = await passes.run(wanted(BUNDLE))
                assert [str(each) for each in result.actions] == [f"~ rename {name} to ipeql0"]
                after = await link("ipeql0")
                assert after.ifindex == before.ifindex
                assert ipv4(after) == {"10.9.0.1/24"}
            await asyncio.to_thread(namespace.ip, "link set ipeql0 name uplink0")
        finally:
            await passes.destroy_all()
        assert not [each for each in (await snapshot())[0].values() if each.name == "uplink0"]

    namespace.run(body)


def test_a_device_whose_name_another_has_got_is_kept(namespace: Namespace, tmp_path: Path) -> None:
    namespace.ip(*LINKS)
    changed = replace(BUNDLE, addresses=(ip_interface("10.9.0.2/24"),))

    async def body() -> None:
        passes = Reconciler({"tun": TunBackend(tmp_path)}, snapshot, tmp_path)
        try:
            await passes.run(wanted(BUNDLE))
            await asyncio.to_thread(
                namespace.ip,
                "link set ipeql0 name uplink0",
                "link add ipeql0 type veth peer name far0",
            )
            result = await passes.run(wanted(changed))
            assert [problem.code for problem in result.problems] == ["IPQ-E001"]
            assert ipv4(await link("uplink0")) == {"10.9.0.2/24"}
            await asyncio.to_thread(namespace.ip, "link del ipeql0")
            assert not (await passes.run(wanted(changed))).problems
            assert ipv4(await link("ipeql0")) == {"10.9.0.2/24"}
        finally:
            await passes.destroy_all()

    namespace.run(body)


def test_a_device_of_an_earlier_version_is_adopted(namespace: Namespace, tmp_path: Path) -> None:
    namespace.ip(*LINKS)

    async def body() -> None:
        passes = Reconciler({"tun": TunBackend(tmp_path)}, snapshot, tmp_path)
        await passes.run(wanted(BUNDLE))
        await asyncio.to_thread(
            namespace.ip,
            "link property del dev ipeql0 altname ipeql.bundle.ipeql0",
            "link set ipeql0 alias ipeql:ipeql0",
        )
        result = await passes.run(wanted(BUNDLE))
        assert (result.actions, result.problems) == ((), ())
        await passes.destroy_all()

    namespace.run(body)


def test_the_addresses_of_others_stay(namespace: Namespace, tmp_path: Path) -> None:
    namespace.ip(*LINKS)
    changed = replace(BUNDLE, addresses=(ip_interface("10.9.0.2/24"),))

    async def body() -> None:
        first = TunBackend(tmp_path)
        await Reconciler({"tun": first}, snapshot, tmp_path).run(wanted(BUNDLE))
        await asyncio.to_thread(
            namespace.ip,
            "address add 10.9.0.100/32 dev ipeql0",
            "address add fd00:9::100/64 dev ipeql0",
        )
        # Another daemon, that has nothing to go by but what the kernel has.
        passes = Reconciler({"tun": TunBackend(tmp_path)}, snapshot, tmp_path)
        try:
            result = await passes.run(wanted(changed))
            assert not result.problems
            found = await link("ipeql0")
            assert ipv4(found) == {"10.9.0.2/24", "10.9.0.100/32"}
            assert ip_interface("fd00:9::100/64") in found.addresses
            assert ip_interface("fd00:9::1/64") not in found.addresses
        finally:
            await passes.destroy_all()
            await first.close()

    namespace.run(body)


def test_addresses_of_the_same_subnet_outlive_the_first(
    namespace: Namespace, tmp_path: Path
) -> None:
    namespace.ip(*LINKS)
    two = tuple(map(ip_interface, ("10.9.0.1/24", "10.9.0.5/24")))

    async def body() -> None:
        passes = Reconciler({"tun": TunBackend(tmp_path)}, snapshot, tmp_path)
        try:
            await passes.run(wanted(replace(BUNDLE, addresses=two)))
            await asyncio.to_thread(namespace.ip, "address add 10.9.0.77/24 dev ipeql0")
            result = await passes.run(wanted(replace(BUNDLE, addresses=two[1:])))
            changes = [str(each) for each in result.actions if not isinstance(each, Receive)]
            assert changes == ["- address 10.9.0.1/24 on ipeql0"]
            assert ipv4(await link("ipeql0")) == {"10.9.0.5/24", "10.9.0.77/24"}
            other = (ip_interface("10.9.0.5/16"), ip_interface("fd00:9::1/48"))
            assert not (await passes.run(wanted(replace(BUNDLE, addresses=other)))).problems
            assert ipv4(await link("ipeql0")) == {"10.9.0.5/16", "10.9.0.77/24"}
        finally:
            await passes.destroy_all()

    namespace.run(body)
