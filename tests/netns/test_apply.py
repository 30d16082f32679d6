"""Passes over real links, with the TUN backend: what they leave, undo and never touch."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import IPv6Address, ip_address, ip_interface, ip_network
from pathlib import Path

import pytest

from ipeql.backends.base import Backend
from ipeql.backends.tun.backend import TunBackend
from ipeql.errors import ApplyError, Code, Problem
from ipeql.observe import Watcher, snapshot
from ipeql.plan import ConfigureBundle
from ipeql.reconcile import PassResult, Reconciler
from ipeql.state import (
    BundleSpec,
    BundleTable,
    DesiredState,
    Link,
    LinkMatch,
    RouteSpec,
    SlaveSpec,
)
from tests.netns.conftest import Namespace

pytestmark = pytest.mark.netns

WIRE = "wire.1"
"""A name that must not become two components of a sysctl."""

LINKS = (
    "link add eth1 type veth peer name far1",
    f"link add {WIRE} type veth peer name far2",
    *(f"link set {name} addrgenmode none" for name in ("eth1", WIRE, "far1", "far2")),
    "link set far1 up",
    "link set far2 up",
    f"link set {WIRE} mtu 1400",
    "link set eth1 up",
)
HOP = IPv6Address("fe80::1")
BUNDLE = BundleSpec(
    "ipeql0",
    "bw_load",
    (
        SlaveSpec("eth1", bandwidth=10**8, via6=HOP),
        SlaveSpec(WIRE, bandwidth=10**7, via6=HOP),
    ),
    addresses=(ip_interface("10.9.0.1/24"), ip_interface("fd00:9::1/64")),
    routes=(
        RouteSpec(ip_network("192.168.40.0/24"), ip_address("10.9.0.2"), 50),
        RouteSpec(ip_network("192.168.41.0/24")),
        RouteSpec(ip_network("fd00:40::/64")),
    ),
)
BAD_ROUTE = RouteSpec(ip_network("192.168.42.0/24"), ip_address("172.31.0.1"))


def wanted(*bundles: BundleSpec) -> DesiredState:
    return DesiredState({bundle.name: bundle for bundle in bundles})


@asynccontextmanager
async def reconciler(
    directory: Path, backends: Mapping[str, Backend] | None = None
) -> AsyncIterator[Reconciler]:
    """Yield a reconciler; whatever it made is gone afterwards."""
    found = Reconciler(backends or {"tun": TunBackend(directory)}, snapshot, directory)
    try:
        yield found
    finally:
        await found.destroy_all()


async def links() -> dict[str, Link]:
    found, _ = await snapshot()
    return {link.name: link for link in found.values()}


def rp_filter(name: str) -> int:
    return int(Path("/proc/sys/net/ipv4/conf", name, "rp_filter").read_text())


def make_strict(name: str) -> None:
    Path("/proc/sys/net/ipv4/conf", name, "rp_filter").write_text("1")


def codes(result: PassResult) -> list[Code]:
    return [problem.code for problem in result.problems]


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


def test_a_refused_detail_costs_itself_alone(namespace: Namespace, tmp_path: Path) -> None:
    namespace.ip(*LINKS, "addr add 10.77.1.1/24 dev eth1")
    no_ipv6 = Path("/proc/sys/net/ipv6/conf/default/disable_ipv6")
    bad = replace(BUNDLE, routes=(BAD_ROUTE, *BUNDLE.routes[:2]))

    async def body() -> None:
        no_ipv6.write_text("1")
        make_strict("eth1")
        async with reconciler(tmp_path) as passes:
            result = await passes.run(wanted(bad))
            assert codes(result) == [Code.APPLY_FAILED, Code.APPLY_FAILED]
            address, route = result.problems
            assert "fd00:9::1/64" in address.message
            assert "disable_ipv6" in address.help
            assert "192.168.42.0/24 via 172.31.0.1" in route.message
            assert "'via'" in route.help
            assert {problem.bundle for problem in result.problems} == {"ipeql0"}
            assert len(result.observed.routes) == 2
            assert (rp_filter("eth1"), (await links())["ipeql0"].up) == (2, True)

            assert result.requeue is not None
            again = await passes.run(wanted(bad))
            assert (again.actions, again.problems) == ((), result.problems)

            no_ipv6.write_text("0")
            Path("/proc/sys/net/ipv6/conf/ipeql0/disable_ipv6").write_text("0")
            mended = await passes.run(wanted(BUNDLE))
            assert mended.problems == ()
            assert not [a for a in mended.actions if isinstance(a, ConfigureBundle)]

    namespace.run(body)


def test_a_refused_detail_does_not_hold_up_other_changes(
    namespace: Namespace, tmp_path: Path
) -> None:
    namespace.ip(*LINKS)
    slaves = (SlaveSpec("eth1", via6=HOP), SlaveSpec(match=LinkMatch("lte*"), via6=HOP))
    desired = wanted(replace(BUNDLE, method="round_robin", slaves=slaves, routes=(BAD_ROUTE,)))

    async def body() -> None:
        async with reconciler(tmp_path) as passes:
            assert codes(await passes.run(desired)) == [Code.APPLY_FAILED]
            await asyncio.to_thread(namespace.ip, "link add name lte0 type veth peer name far3")
            result = await passes.run(desired)
            assert codes(result) == [Code.APPLY_FAILED]
            table = result.observed.bundles["ipeql0"].table
            assert table is not None
            assert [row.name for row in table.slaves] == ["eth1", "lte0"]

    namespace.run(body)


def test_what_is_essential_is_undone_and_others_go_on(namespace: Namespace, tmp_path: Path) -> None:
    namespace.ip(*LINKS)
    other = BundleSpec("ipeql1", "round_robin", (SlaveSpec("far1"),))

    async def body() -> None:
        make_strict("eth1")
        before = await links()
        async with reconciler(tmp_path, {"tun": Broken(tmp_path)}) as passes:
            result = await passes.run(wanted(BUNDLE, other))
            assert codes(result) == [Code.BACKEND_LOST]
            assert {action.bundle for action in result.actions} == {"ipeql1"}
            after = await links()
            assert after.keys() - before.keys() == {"ipeql1"}
            # The link was set up, and others may have come to use it.
            assert (rp_filter("eth1"), after[WIRE].up) == (1, True)
            assert result.requeue is not None
            again = await passes.run(wanted(BUNDLE, other))
            assert (again.actions, codes(again)) == ((), [Code.BACKEND_LOST])

    namespace.run(body)


def test_a_running_bundle_survives_a_refused_change(namespace: Namespace, tmp_path: Path) -> None:
    namespace.ip(*LINKS)
    changed = replace(
        BUNDLE, method="round_robin", addresses=(ip_interface("10.10.0.1/24"),), routes=()
    )

    async def body() -> None:
        backend = Broken(tmp_path)
        async with reconciler(tmp_path, {"tun": backend}) as passes:
            backend.works = True
            await passes.run(wanted(BUNDLE))
            backend.works = False
            assert codes(await passes.run(wanted(changed))) == [Code.BACKEND_LOST]
            assert (await passes.plan(wanted(BUNDLE))).actions == ()

    namespace.run(body)


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
            bundle = BundleSpec("ipeql0", "round_robin", (SlaveSpec("eth1"),))
            result = await passes.run(wanted(bundle))
            assert codes(result) == [Code.FILTER_EVERYWHERE]
            assert "net.ipv4.conf.all.rp_filter=0" in result.problems[0].help

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


class Deaf(TunBackend):
    """A dataplane that says yes and does nothing."""

    async def configure(self, bundle: str, table: BundleTable) -> None:
        pass


class Broken(TunBackend):
    """A dataplane that refuses the table of ipeql0."""

    works = False

    async def configure(self, bundle: str, table: BundleTable) -> None:
        if self.works or bundle != "ipeql0":
            await super().configure(bundle, table)
            return
        raise ApplyError(Problem(Code.BACKEND_LOST, f"{bundle}: no answer", "look at the journal"))


def test_a_change_without_effect_is_reported(namespace: Namespace, tmp_path: Path) -> None:
    namespace.ip(*LINKS)

    async def body() -> None:
        async with reconciler(tmp_path, {"tun": Deaf(tmp_path)}) as passes:
            result = await passes.run(wanted(BUNDLE))
            assert codes(result) == [Code.NOT_IN_SYNC]
            assert "+ configure ipeql0: bw_load over eth1, wire.1" in result.problems[0].message
            assert result.requeue is not None

    namespace.run(body)


def test_a_backend_s_refusal_is_passed_on(namespace: Namespace, tmp_path: Path) -> None:
    namespace.ip(*LINKS)

    async def body() -> None:
        async with reconciler(tmp_path, {"tun": Broken(tmp_path)}) as passes:
            result = await passes.run(wanted(BUNDLE))
            (problem,) = result.problems
            assert (problem.code, problem.bundle, problem.help) == (
                Code.BACKEND_LOST,
                "ipeql0",
                "look at the journal",
            )
            assert "ipeql0" not in await links()

    namespace.run(body)


class Stuck(Broken):
    """A dataplane that refuses its table, and once its end."""

    refusals = 1

    async def destroy(self, bundle: str) -> None:
        self.refusals -= 1
        if self.refusals >= 0:
            raise ApplyError(Problem(Code.BACKEND_LOST, f"{bundle}: will not end", ""))
        await super().destroy(bundle)


def test_what_could_not_be_undone_is_said(namespace: Namespace, tmp_path: Path) -> None:
    namespace.ip(*LINKS)

    async def body() -> None:
        make_strict("eth1")
        async with reconciler(tmp_path, {"tun": Stuck(tmp_path)}) as passes:
            first, *rest = (await passes.run(wanted(BUNDLE))).problems
            assert first.code is Code.BACKEND_LOST
            assert [problem.code for problem in rest] == [Code.UNDO_FAILED]
            assert rest[0].message == "ipeql0: not undone: ipeql0: will not end"
            assert rp_filter("eth1") == 1

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
