"""Passes of which something is refused: what is undone, and what goes on."""

import asyncio
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest

from ipeql.backends.tun.backend import TunBackend
from ipeql.errors import ApplyError, Code, Problem
from ipeql.plan import ConfigureBundle
from ipeql.state import (
    BundleSpec,
    BundleTable,
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

BAD_ROUTE = RouteSpec(ip_network("192.168.42.0/24"), ip_address("172.31.0.1"))


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


class Stuck(Broken):
    """A dataplane that refuses its table, and once its end."""

    refusals = 1

    async def destroy(self, bundle: str) -> None:
        self.refusals -= 1
        if self.refusals >= 0:
            raise ApplyError(Problem(Code.BACKEND_LOST, f"{bundle}: will not end", ""))
        await super().destroy(bundle)


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
            assert after.keys() - before.keys() == {"ipeql1", "ipeql1-lower"}
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
