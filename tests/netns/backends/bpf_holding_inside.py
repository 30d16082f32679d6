"""What the bpf dataplane holds, inside the emulated kernel; test_dataplanes.py runs it.

The kernel that runs here may have no fq. The instruction clock skips the time in which all wait.
"""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace

import pytest

from ipeql.backends.bpf import holder
from ipeql.backends.bpf.backend import BpfBackend
from ipeql.observe import snapshot
from ipeql.state import BundleTable, SlaveRow
from tests.netns.conftest import Namespace
from tests.netns.two_links import BUNDLE, HELLO, TWO_LINKS, bundle, listener, received, send

pytestmark = pytest.mark.netns

MS = 10**6
LAG = 20_000 * MS
"""Longer than anything else takes."""

TIMEOUT_S = 600.0
ETHERTYPE, ARP = slice(12, 14), b"\x08\x06"
ASKED = slice(38, 42)
LONGEST_HOLD = (("max_hold", 60_000 * MS),)
FAST = SlaveRow(11, "eth1", bandwidth=10**7, lag=0)
SLOW = SlaveRow(12, "eth2", bandwidth=10**7, lag=LAG)
HOLDING = BundleTable("bw_lag_eq", LONGEST_HOLD, slaves=(FAST, SLOW))
OTHER = BundleTable("round_robin", slaves=(FAST, SLOW))
LINKS = (
    *TWO_LINKS,
    *(f"neigh add fd00:9::2 lladdr 02:00:00:00:00:02 dev eth{number}" for number in (1, 2)),
)


@pytest.fixture
def backend() -> BpfBackend:
    assert not holder.lack()
    return BpfBackend()


async def parts() -> set[str]:
    """Return the names of the devices that are part of a bundle."""
    found, _ = await snapshot()
    return {link.name for link in found.values() if link.part_of}


@asynccontextmanager
async def holding(
    backend: BpfBackend, namespace: Namespace
) -> AsyncIterator[tuple[socket.socket, socket.socket]]:
    """Have a bundle that holds, and its far ends."""
    await asyncio.to_thread(namespace.ip, *LINKS)
    with closing(listener("far1")) as fast, closing(listener("far2")) as slow:
        for sock in (fast, slow):
            sock.settimeout(TIMEOUT_S)
        async with bundle(backend, namespace, HOLDING):
            yield fast, slow


@pytest.mark.parametrize("to", ["10.9.0.2", "fd00:9::2"])
def test_a_packet_is_held_until_it_is_due(
    namespace: Namespace, backend: BpfBackend, to: str
) -> None:
    async def body() -> None:
        async with holding(backend, namespace) as (fast, slow):
            begin = time.monotonic_ns()
            send(to, 2)
            assert received(slow).endswith(HELLO)
            assert received(fast)[:6] == bytes.fromhex("020000000002")
            assert time.monotonic_ns() - begin >= LAG
            assert all(each.packets for each in (await backend.statistics(BUNDLE)).slaves)

    namespace.run(body, TIMEOUT_S)


def test_the_devices_are_there_while_the_method_holds(
    namespace: Namespace, backend: BpfBackend
) -> None:
    async def body() -> None:
        async with holding(backend, namespace):
            during = await parts()
            assert len(during) == 3
            await backend.configure(BUNDLE, HOLDING)
            assert await parts() == during
            await backend.configure(BUNDLE, OTHER)
            assert len(await parts()) == 1
            await backend.configure(BUNDLE, HOLDING)
        assert not await parts()

    namespace.run(body, TIMEOUT_S)


def test_devices_that_others_have_deleted_are_made_anew(
    namespace: Namespace, backend: BpfBackend
) -> None:
    async def body() -> None:
        async with holding(backend, namespace) as (_, slow):
            assert (await BpfBackend().observe())[BUNDLE].table == HOLDING
            await holder.remove(BUNDLE)
            assert (await backend.observe())[BUNDLE].table is None
            await backend.configure(BUNDLE, HOLDING)
            assert (await backend.observe())[BUNDLE].table == HOLDING
            send("10.9.0.2", 2)
            received(slow)

    namespace.run(body, TIMEOUT_S)


@pytest.mark.parametrize(
    "after",
    [
        replace(HOLDING, slaves=(SLOW, FAST)),
        replace(HOLDING, slaves=(replace(FAST, usable=False), SLOW)),
        replace(HOLDING, slaves=(SLOW,)),
        OTHER,
    ],
    ids=["order", "unusable", "freed", "method"],
)
def test_a_new_table_loses_nothing_that_is_held(
    namespace: Namespace, backend: BpfBackend, after: BundleTable
) -> None:
    async def body() -> None:
        async with holding(backend, namespace) as (fast, slow):
            send("10.9.0.2", 2)
            received(slow)
            await backend.configure(BUNDLE, after)
            stays = any(row.ifindex == FAST.ifindex and row.usable for row in after.slaves)
            received(fast if stays else slow)

    namespace.run(body, TIMEOUT_S)


def test_what_is_held_for_a_link_that_goes_down_takes_another(
    namespace: Namespace, backend: BpfBackend
) -> None:
    async def body() -> None:
        async with holding(backend, namespace) as (_, slow):
            send("10.9.0.2", 2)
            received(slow)
            await asyncio.to_thread(namespace.ip, "link set eth1 down")
            received(slow)

    namespace.run(body, TIMEOUT_S)


def test_the_first_packet_asks_for_its_next_hop_on_every_slave(
    namespace: Namespace, backend: BpfBackend
) -> None:
    async def body() -> None:
        async with holding(backend, namespace) as far:
            send("10.9.0.9", 1)
            for sock in far:
                while (frame := sock.recv(2000))[ETHERTYPE] != ARP:
                    pass
                assert frame[ASKED] == bytes([10, 9, 0, 9])

    namespace.run(body, TIMEOUT_S)
