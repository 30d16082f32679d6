"""What the TUN dataplane does where bandwidths are measured: packets wait until a slave is free."""

import asyncio
import time
from pathlib import Path

import pytest

from ipeql.backends.tun.backend import TunBackend
from ipeql.state import BundleTable
from ipeql.state.path import Adjusted, Adjustments, Backlog
from tests.netns.backends.test_adjust import stream
from tests.netns.backends.test_backend_contract import BUNDLE, ETH1, ETH2, LINKS, bundle
from tests.netns.conftest import Namespace

pytestmark = pytest.mark.netns

TABLE = BundleTable("bw_lag_eq", slaves=(ETH1, ETH2), stripe_unit="packet")
MS = 10**6


def queues(first: int, second: int) -> Adjustments:
    """Say which queues probes have met just now, ms."""
    now = time.monotonic_ns()
    return {
        slave.ifindex: Adjusted(late=True, backlog=Backlog(now, queue * MS))
        for slave, queue in ((ETH1, first), (ETH2, second))
    }


def test_packets_wait_for_the_queue_that_is_short_first(
    namespace: Namespace, tmp_path: Path
) -> None:
    namespace.ip(*LINKS)

    async def body() -> None:
        backend = TunBackend(tmp_path)
        async with bundle(backend, namespace):
            await backend.configure(BUNDLE, TABLE)
            assert (await backend.observe())[BUNDLE].binds_late
            await backend.adjust(BUNDLE, queues(0, 0))
            with stream("far1", "far2") as packets:
                await asyncio.sleep(0.2)
                await backend.adjust(BUNDLE, queues(20_000, 20_000))
                stopped = packets.sent + 1
                await asyncio.sleep(0.3)
                waiting = (await backend.statistics(BUNDLE)).slaves
                assert sum(each.packets for each in waiting) <= stopped
                await backend.adjust(BUNDLE, queues(20_000, 0))
                await asyncio.sleep(0.3)
                await backend.adjust(BUNDLE, {})
            first, second = packets.arrived
        assert sorted(first + second) == list(range(packets.sent))
        assert second == sorted(second) and first == sorted(first)
        assert set(range(stopped + 5, stopped + 400)) <= set(second)

    namespace.run(body)


def test_what_waits_is_sent_by_whoever_is_left(namespace: Namespace, tmp_path: Path) -> None:
    namespace.ip(*LINKS)

    async def body() -> None:
        backend = TunBackend(tmp_path)
        async with bundle(backend, namespace):
            await backend.configure(BUNDLE, TABLE)
            await backend.adjust(BUNDLE, queues(0, 0))
            with stream("far1", "far2") as packets:
                await asyncio.sleep(0.1)
                await backend.adjust(BUNDLE, queues(20_000, 20_000))
                await asyncio.sleep(0.1)
                out = {**queues(0, 0), ETH1.ifindex: Adjusted(usable=False, late=True)}
                await backend.adjust(BUNDLE, out)
                await asyncio.sleep(0.1)
            first, second = packets.arrived
        assert sorted(first + second) == list(range(packets.sent))

    namespace.run(body)
