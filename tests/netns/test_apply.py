"""Passes over real links: what they leave, adopt and never touch."""

import asyncio
import subprocess
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest

from ipeql.backends.tun.backend import TunBackend
from ipeql.errors import Code
from ipeql.observe import Watcher, snapshot
from ipeql.reconcile import Reconciler
from ipeql.state import (
    BundleSpec,
    LinkMatch,
    RouteSpec,
    SlaveSpec,
)
from tests.netns.conftest import Namespace
from tests.netns.passes import (
    BUNDLE,
    HOP,
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


def test_a_first_pass_does_all_and_a_second_nothing(namespace: Namespace, tmp_path: Path) -> None:
    namespace.ip(*LINKS, "addr add 10.77.1.1/24 dev eth1")

    async def body() -> None:
        make_strict("eth1")
        make_strict(WIRE)
        before = await links()
        async with reconciler(tmp_path) as passes:
            result = await passes.run(wanted(BUNDLE))
            assert result.problems == ()
            bundle = result.observed.link("ipeql0")
            assert bundle is not None
            assert (bundle.up, bundle.mtu, bundle.owner) == (True, 1400, "ipeql0")
            assert bundle.train_limit == 1
            assert {ip_interface("10.9.0.1/24"), ip_interface("fd00:9::1/64")} <= bundle.addresses
            assert {(r.to, r.via, r.metric or 0) for r in result.observed.routes} == {
                (ip_network("192.168.40.0/24"), ip_address("10.9.0.2"), 50),
                (ip_network("192.168.41.0/24"), None, 0),
                (ip_network("fd00:40::/64"), None, 1024),
            }
            assert (await links())[WIRE].up
            assert (rp_filter("eth1"), rp_filter(WIRE)) == (2, 0)
            table = result.observed.bundles["ipeql0"].table
            assert table is not None
            assert [(row.name, row.usable) for row in table.slaves] == [
                ("eth1", True),
                (WIRE, True),
            ]
            async with Watcher() as watcher:
                assert (await passes.plan(wanted(BUNDLE))).actions == ()
                again = await passes.run(wanted(BUNDLE))
                assert (again.actions, again.problems, again.requeue) == ((), (), None)
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(watcher.changed(), 0.1)
        after = await links()
        assert (rp_filter("eth1"), rp_filter(WIRE)) == (1, 1)
        assert after.keys() == before.keys()
        assert not (await snapshot())[1]

    namespace.run(body)


def test_every_kind_of_change_is_applied_live(namespace: Namespace, tmp_path: Path) -> None:
    namespace.ip(*LINKS)
    changed = replace(
        BUNDLE,
        method="bw_lag_eq",
        parameters=(("queue_limit", 50_000_000),),
        slaves=(
            SlaveSpec(WIRE, bandwidth=10**6, lag=10**6, via6=HOP),
            SlaveSpec("far1", bandwidth=10**6, lag=0, via6=HOP),
        ),
        mtu=1280,
        stripe_unit="packet",
        addresses=(ip_interface("10.9.0.2/24"),),
        routes=(RouteSpec(ip_network("192.168.40.0/24"), ip_address("10.9.0.3"), 50),),
    )

    async def body() -> None:
        make_strict("eth1")
        async with reconciler(tmp_path) as passes:
            first = await passes.run(wanted(BUNDLE))
            result = await passes.run(wanted(changed))
            assert result.problems == ()
            before, bundle = first.observed.link("ipeql0"), result.observed.link("ipeql0")
            assert before is not None
            assert bundle is not None
            assert (bundle.ifindex, bundle.mtu) == (before.ifindex, 1280)
            assert [str(address) for address in bundle.addresses if address.version == 4] == [
                "10.9.0.2/24"
            ]
            assert {route.via for route in result.observed.routes} == {ip_address("10.9.0.3")}
            assert rp_filter("eth1") == 1
            assert (await passes.plan(wanted(changed))).actions == ()

    namespace.run(body)


def test_a_train_limit_that_somebody_set_is_set_back(namespace: Namespace, tmp_path: Path) -> None:
    namespace.ip(*LINKS)
    fast = replace(BUNDLE, slaves=(SlaveSpec("eth1", bandwidth=10**8, via6=HOP),))

    async def body() -> None:
        async with reconciler(tmp_path) as passes:
            await passes.run(wanted(fast))
            await asyncio.to_thread(namespace.ip, "link set ipeql0 gso_max_segs 100")
            result = await passes.run(wanted(fast))
            assert [str(action) for action in result.actions] == [
                "~ train limit ipeql0: 100 packets -> 8 packets"
            ]
            assert (await links())["ipeql0"].train_limit == 8
            assert (await passes.plan(wanted(fast))).actions == ()

    namespace.run(body)


def test_what_runs_is_adopted_after_a_restart(namespace: Namespace, tmp_path: Path) -> None:
    namespace.ip(*LINKS)

    async def body() -> None:
        make_strict("eth1")
        backend = TunBackend(tmp_path)
        first = await Reconciler({"tun": backend}, snapshot, tmp_path).run(wanted(BUNDLE))
        async with reconciler(tmp_path) as passes:
            result = await passes.run(wanted(BUNDLE))
            assert (result.actions, result.problems) == ((), ())
            assert result.observed.bundles == first.observed.bundles
            await backend.close()
        assert rp_filter("eth1") == 1
        assert "ipeql0" not in await links()

    namespace.run(body)


def test_slaves_that_vanish_return_and_appear(namespace: Namespace, tmp_path: Path) -> None:
    namespace.ip(*LINKS)
    slaves = (SlaveSpec("eth1", via6=HOP), SlaveSpec(match=LinkMatch("lte*"), via6=HOP))
    desired = wanted(replace(BUNDLE, method="round_robin", slaves=slaves))

    async def enslaved(passes: Reconciler) -> list[str]:
        result = await passes.run(desired)
        assert result.problems == ()
        table = result.observed.bundles["ipeql0"].table
        return [row.name for row in table.slaves] if table else []

    async def body() -> None:
        async with reconciler(tmp_path) as passes:
            assert await enslaved(passes) == ["eth1"]
            await asyncio.to_thread(namespace.ip, "link del eth1")
            assert await enslaved(passes) == []
            assert "ipeql0" in await links()
            await asyncio.to_thread(
                namespace.ip,
                "link add name eth1 index 4242 type veth peer name far1",
                "link add name lte0 type veth peer name far3",
            )
            assert await enslaved(passes) == ["eth1", "lte0"]
            assert ("ipeql0", 4242) in (await passes.observe(desired)).prepared

    namespace.run(body)


def test_what_is_foreign_stays(namespace: Namespace, tmp_path: Path) -> None:
    namespace.ip(
        *LINKS,
        "link add ipeql1 type veth peer name far3",
        "addr add 172.16.0.1/16 dev eth1",
        "route add 192.168.41.0/24 dev eth1 proto static",
    )
    taken = BundleSpec("ipeql1", "round_robin", (SlaveSpec("far2"),))

    async def body() -> None:
        before = await links()
        async with reconciler(tmp_path) as passes:
            result = await passes.run(wanted(BUNDLE, taken))
            assert sorted(codes(result)) == [Code.APPLY_FAILED, Code.NAME_TAKEN]
            refused = next(p for p in result.problems if p.code is Code.APPLY_FAILED)
            assert "'metric'" in refused.help
            assert (await links())["ipeql1"] == before["ipeql1"]
        routes = await asyncio.to_thread(
            subprocess.check_output, ["ip", "-n", namespace.name, "route"], text=True
        )
        assert "192.168.41.0/24 dev eth1 proto static" in routes

    namespace.run(body)
