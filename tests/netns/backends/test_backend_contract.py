"""The contract of ipeql/backends/base.py, asked of every backend in a bare namespace."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from ipeql.backends.base import Backend
from ipeql.backends.bpf import dataplane
from ipeql.backends.bpf.backend import BpfBackend
from ipeql.backends.kmod.backend import MODULE, KmodBackend
from ipeql.backends.tun.backend import TunBackend
from ipeql.errors import ApplyError
from ipeql.methods import METHODS
from ipeql.observe import snapshot
from ipeql.state import BundleStatistics, BundleTable, Link, SlaveRow
from tests.netns.conftest import Namespace

pytestmark = pytest.mark.netns

BUNDLE = "ipeql0"
LINKS = (
    "link add eth1 index 11 type veth peer name far1",
    "link add eth2 index 12 type veth peer name far2",
    "link add eth3 index 13 type veth peer name far3",
    *(f"link set {end}{number} up" for end in ("eth", "far") for number in (1, 2, 3)),
    *(f"neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev eth{number}" for number in (1, 2, 3)),
)
ETH1, ETH2, ETH3 = (
    SlaveRow(10 + number, f"eth{number}", bandwidth=10**8, lag=10**6) for number in (1, 2, 3)
)
TABLE = BundleTable("round_robin", slaves=(ETH1, ETH2))
FULL_TABLE = BundleTable(
    method="bw_lag_eq",
    parameters=(("max_hold", 10**8), ("queue_limit", 10**7)),
    stripe_unit="packet",
    poll_interval=10**8,
    slaves=(
        replace(ETH2, via=IPv4Address("10.9.0.2"), via6=IPv6Address("fd00:9::2"), overhead=38),
        replace(ETH3, usable=False),
    ),
)
UNKNOWN_SLAVE = replace(TABLE, slaves=(ETH1, SlaveRow(4711, "none")))

Make = Callable[[Path], Backend]


def make_bpf(runtime: Path) -> Backend:
    if reason := dataplane.unavailable():
        pytest.skip(reason)
    return BpfBackend()


MAKERS: dict[str, Make] = {"tun": TunBackend, "bpf": make_bpf}
if MODULE.exists():  # in the emulated kernel; elsewhere a skip would be a failure of CI
    MAKERS["kmod"] = lambda runtime: KmodBackend()
backends = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


@asynccontextmanager
async def bundle(backend: Backend, namespace: Namespace) -> AsyncIterator[None]:
    """Have a bundle that is up and has an address, gone afterwards.

    Without an IPv6 address of its own the host says nothing over it that nobody has sent.
    """
    await backend.create(BUNDLE)
    try:
        setup = (
            f"link set {BUNDLE} addrgenmode none",
            f"link set {BUNDLE} up",
            f"address add 10.9.0.1/24 dev {BUNDLE}",
        )
        await asyncio.to_thread(namespace.ip, *setup)
        yield
    finally:
        await backend.destroy(BUNDLE)
        await backend.close()


async def links() -> dict[str, Link]:
    found, _ = await snapshot()
    return {link.name: link for link in found.values()}


def send(count: int, to: str = "10.9.0.2") -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for number in range(count):
            sock.sendto(number.to_bytes(2, "big"), (to, 9))


async def statistics_after(backend: Backend, packets: int) -> BundleStatistics:
    """Return the counters once ``packets`` IPv4 packets and all before them are accounted for."""
    while True:
        found = await backend.statistics(BUNDLE)
        if sum(slave.packets for slave in found.slaves) >= packets:
            return found
        await asyncio.sleep(0.01)


@backends
def test_capabilities_say_what_is_there(make: Make, tmp_path: Path) -> None:
    able = make(tmp_path).capabilities()
    assert able.backend == make(tmp_path).name
    assert able.available == (not able.reason)
    assert able.methods <= METHODS.keys()
    assert able.stripe_units <= {"burst", "packet", "flow", "flowlet"}


@backends
def test_create_marks_a_device_that_is_down_and_destroy_removes_all(
    namespace: Namespace, tmp_path: Path, make: Make
) -> None:
    async def body() -> None:
        before = await links()
        backend = make(tmp_path)
        assert await backend.observe() == {}
        for _ in range(2):
            await backend.create(BUNDLE)
            made = (await links())[BUNDLE]
            assert (made.owner, made.up) == (BUNDLE, False)
            observed = await backend.observe()
            assert observed.keys() == {BUNDLE}
            assert (observed[BUNDLE].backend, observed[BUNDLE].table) == (backend.name, None)
        for _ in range(2):
            await backend.destroy(BUNDLE)
            assert await backend.observe() == {}
            assert await links() == before
        await backend.close()

    namespace.run(body)


@backends
def test_a_table_is_observed_as_it_was_configured(
    namespace: Namespace, tmp_path: Path, make: Make
) -> None:
    namespace.ip(*LINKS)

    async def body() -> None:
        backend = make(tmp_path)
        async with bundle(backend, namespace):
            full = FULL_TABLE
            if full.method not in backend.capabilities().methods:
                full = replace(full, method="bw_lag_val", parameters=(), stripe_unit="burst")
            for table in (TABLE, full, full, replace(TABLE, slaves=())):
                await backend.configure(BUNDLE, table)
                assert (await backend.observe())[BUNDLE].table == table

    namespace.run(body)


@backends
def test_a_table_that_cannot_be_is_refused_whole(
    namespace: Namespace, tmp_path: Path, make: Make
) -> None:
    namespace.ip(*LINKS)
    broken = replace(UNKNOWN_SLAVE, method="bw_lag_val", slaves=(replace(ETH1, lag=None),))

    async def body() -> None:
        backend = make(tmp_path)
        async with bundle(backend, namespace):
            await backend.configure(BUNDLE, TABLE)
            for table in (UNKNOWN_SLAVE, broken):
                with pytest.raises(ApplyError) as refused:
                    await backend.configure(BUNDLE, table)
                assert str(refused.value).startswith(f"ipeql: error: {BUNDLE}: ")
                assert (await backend.observe())[BUNDLE].table == TABLE
            send(10)
            assert len((await statistics_after(backend, 10)).slaves) == 2

    namespace.run(body)


@backends
def test_statistics_are_kept_for_the_slaves_that_stay(
    namespace: Namespace, tmp_path: Path, make: Make
) -> None:
    namespace.ip(*LINKS)

    async def body() -> None:
        backend = make(tmp_path)
        async with bundle(backend, namespace):
            await backend.configure(BUNDLE, TABLE)
            send(10)
            first = await statistics_after(backend, 10)
            assert [slave.name for slave in first.slaves] == ["eth1", "eth2"]
            for slave in first.slaves:
                assert slave.picks == slave.packets > 0
                assert slave.bytes >= slave.packets * 20
                assert slave.dropped == {}
            await backend.configure(BUNDLE, replace(TABLE, slaves=(ETH3, ETH2)))
            second = await backend.statistics(BUNDLE)
            assert [slave.name for slave in second.slaves] == ["eth3", "eth2"]
            assert second.slaves[0].packets == 0
            assert second.slaves[1].packets >= first.slaves[1].packets

    namespace.run(body)


@backends
def test_a_packet_without_a_usable_slave_is_counted(
    namespace: Namespace, tmp_path: Path, make: Make
) -> None:
    namespace.ip(*LINKS)

    async def body() -> None:
        backend = make(tmp_path)
        async with bundle(backend, namespace):
            unusable = tuple(replace(row, usable=False) for row in TABLE.slaves)
            await backend.configure(BUNDLE, replace(TABLE, slaves=unusable))
            send(10)
            while (await backend.statistics(BUNDLE)).dropped.get("no_slave", 0) < 10:
                await asyncio.sleep(0.01)
            await backend.configure(BUNDLE, TABLE)
            send(10)
            await statistics_after(backend, 10)

    namespace.run(body)


@backends
def test_another_backend_object_adopts_what_runs(
    namespace: Namespace, tmp_path: Path, make: Make
) -> None:
    namespace.ip(*LINKS)

    async def body() -> None:
        first, second = make(tmp_path), make(tmp_path)
        async with bundle(second, namespace):
            await first.observe()
            await first.configure(BUNDLE, TABLE)
            send(10)
            counted = await statistics_after(first, 10)
            index = (await links())[BUNDLE].ifindex
            await first.close()
            assert (await second.observe())[BUNDLE].table == TABLE
            await second.create(BUNDLE)
            assert (await links())[BUNDLE].ifindex == index
            assert (await second.statistics(BUNDLE)).slaves[0].picks >= counted.slaves[0].picks
        assert BUNDLE not in await links()

    namespace.run(body)


@backends
def test_a_device_deleted_by_others_is_made_anew(
    namespace: Namespace, tmp_path: Path, make: Make
) -> None:
    async def body() -> None:
        backend = make(tmp_path)
        async with bundle(backend, namespace):
            for _ in range(3):
                await asyncio.to_thread(namespace.ip, f"link del {BUNDLE}")
                await backend.create(BUNDLE)
                assert (await links())[BUNDLE].owner == BUNDLE
                assert BUNDLE in await backend.observe()

    namespace.run(body)


@backends
def test_what_does_not_exist_is_an_error_with_its_name(
    namespace: Namespace, tmp_path: Path, make: Make
) -> None:
    async def body() -> None:
        backend = make(tmp_path)
        with pytest.raises(ApplyError, match=BUNDLE):
            await backend.configure(BUNDLE, TABLE)
        with pytest.raises(ApplyError, match=BUNDLE):
            await backend.statistics(BUNDLE)
        await backend.destroy(BUNDLE)

    namespace.run(body)
