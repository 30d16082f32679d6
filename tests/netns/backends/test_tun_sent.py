"""What the TUN dataplane does about packets that it has sent over a path that was silent."""

import asyncio
import time
from pathlib import Path

import pytest

from ipeql.backends.tun.backend import TunBackend
from ipeql.state.path import Adjusted
from tests.netns.backends.test_adjust import stream
from tests.netns.backends.test_backend_contract import (
    BUNDLE,
    ETH1,
    ETH2,
    LINKS,
    TABLE,
    bundle,
)
from tests.netns.conftest import Namespace

pytestmark = pytest.mark.netns

WATCHED = {ETH1.ifindex: Adjusted(), ETH2.ifindex: Adjusted()}
LOST_NS = 100 * 10**6


def test_what_may_be_lost_is_sent_once_more_over_another_slave(
    namespace: Namespace, tmp_path: Path
) -> None:
    namespace.ip(*LINKS)

    async def body() -> None:
        backend = TunBackend(tmp_path)
        async with bundle(backend, namespace):
            await backend.configure(BUNDLE, TABLE)
            with stream("far1", "far2") as packets:
                await asyncio.sleep(0.1)
                await backend.adjust(BUNDLE, WATCHED)
                await asyncio.sleep(0.3)
                since, sent = time.monotonic_ns() - LOST_NS, packets.sent
                out = {ETH1.ifindex: Adjusted(usable=False, lost_since=since)}
                await backend.adjust(BUNDLE, out)
                await asyncio.sleep(0.1)
                await backend.adjust(BUNDLE, WATCHED)
                await backend.adjust(BUNDLE, out)
                await asyncio.sleep(0.1)
            first, second = packets.arrived
        again = sorted(set(first) & set(second))
        assert len(second) == len(set(second))
        assert sent - 150 < again[0] < sent - 50 and again[-1] <= first[-1]
        assert again == [number for number in first if number >= again[0]]

    namespace.run(body)


def test_nothing_is_kept_when_nobody_watches_the_path(namespace: Namespace, tmp_path: Path) -> None:
    namespace.ip(*LINKS)

    async def body() -> None:
        backend = TunBackend(tmp_path)
        async with bundle(backend, namespace):
            await backend.configure(BUNDLE, TABLE)
            with stream("far1", "far2") as packets:
                await backend.adjust(BUNDLE, WATCHED)
                await asyncio.sleep(0.1)
                await backend.adjust(BUNDLE, {})
                await asyncio.sleep(0.1)
                out = {ETH1.ifindex: Adjusted(usable=False, lost_since=1)}
                await backend.adjust(BUNDLE, out)
                await asyncio.sleep(0.1)
            first, second = packets.arrived
        assert first and not set(first) & set(second)

    namespace.run(body)
