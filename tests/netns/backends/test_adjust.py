"""What every dataplane does when it is adjusted while packets are sent."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from ipeql.backends.base import Backend
from ipeql.errors import ApplyError
from ipeql.state import BundleTable
from ipeql.state.path import Adjusted
from tests.netns.backends.test_backend_contract import (
    BUNDLE,
    ETH1,
    ETH2,
    ETH3,
    LINKS,
    TABLE,
    Make,
    backends,
    bundle,
    send,
)
from tests.netns.conftest import Namespace
from tests.netns.two_links import listener

pytestmark = pytest.mark.netns

OUT = Adjusted(usable=False)
MARK = b"number "
SHARES = BundleTable("bw_load", slaves=(ETH1, ETH2))


async def picks(backend: Backend) -> list[int]:
    return [slave.picks for slave in (await backend.statistics(BUNDLE)).slaves]


async def gained(backend: Backend, packets: int, to: str = "10.9.0.2") -> list[int]:
    """Send, and return how many of the packets each slave of the table was given."""
    before = await picks(backend)
    send(packets, to)
    give_up = time.monotonic() + 10
    while sum(now := await picks(backend)) < sum(before) + packets:
        assert time.monotonic() < give_up
        await asyncio.sleep(0.01)
    return [after - first for after, first in zip(now, before, strict=True)]


@dataclass
class Stream:
    """Numbered packets, 1000 a second; which numbers came out where. ``sent``: the next one."""

    sent: int = 0
    ended: bool = False
    arrived: list[list[int]] = field(default_factory=list)

    def send(self) -> None:
        begin = time.monotonic()
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
            while not self.ended:
                sock.sendto(MARK + self.sent.to_bytes(4, "big"), ("10.9.0.2", 9))
                self.sent += 1
                time.sleep(max(0, begin + self.sent / 1000 - time.monotonic()))

    def collect(self, far: socket.socket) -> list[int]:
        found = []
        far.setblocking(False)
        try:
            while True:
                _, mark, number = far.recv(2000).rpartition(MARK)
                if mark:
                    found.append(int.from_bytes(number, "big"))
        except BlockingIOError:
            return found


@contextmanager
def stream(*links: str) -> Iterator[Stream]:
    """Send during the context; what has arrived is known after it."""
    found = Stream()
    with ExitStack() as stack:
        far = [stack.enter_context(closing(listener(link))) for link in links]
        for each in far:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        sender = threading.Thread(target=found.send)
        sender.start()
        try:
            yield found
        finally:
            found.ended = True
            sender.join()
        time.sleep(0.3)
        found.arrived = [found.collect(each) for each in far]


@backends
def test_a_slave_leaves_and_returns_at_once_and_nothing_is_lost(
    namespace: Namespace, tmp_path: Path, make: Make
) -> None:
    namespace.ip(*LINKS)

    async def body() -> None:
        backend = make(tmp_path)
        async with bundle(backend, namespace):
            await backend.configure(BUNDLE, TABLE)
            with stream("far1", "far2") as packets:
                await asyncio.sleep(0.2)
                await backend.adjust(BUNDLE, {ETH1.ifindex: OUT})
                out = packets.sent + 1  # one may be on its way
                await asyncio.sleep(0.2)
                back = packets.sent
                await backend.adjust(BUNDLE, {})
                await asyncio.sleep(0.2)
            first, second = packets.arrived
            assert sorted(first + second) == list(range(packets.sent))
            assert not [number for number in first if out <= number < back]
            assert {number < back for number in first} == {True, False}

    namespace.run(body)


@backends
def test_rates_and_lags_count_from_the_next_packet_on(
    namespace: Namespace, tmp_path: Path, make: Make
) -> None:
    namespace.ip(*LINKS)

    async def body() -> None:
        backend = make(tmp_path)
        async with bundle(backend, namespace):
            await backend.configure(BUNDLE, SHARES)
            before = await gained(backend, 200)
            assert abs(before[0] - before[1]) <= 20
            counted = await picks(backend)
            await backend.adjust(BUNDLE, {ETH1.ifindex: Adjusted(bandwidth=3 * ETH1.bandwidth)})
            assert await picks(backend) >= counted
            first, second = await gained(backend, 400)
            assert 280 < first < 320 and second == 400 - first
            await backend.adjust(BUNDLE, {})
            first, second = await gained(backend, 200)
            assert abs(first - second) <= 20
            await backend.configure(BUNDLE, replace(SHARES, method="bw_lag_val"))
            for slow, usual in ((0, 1), (1, 0)):
                row = (ETH1, ETH2)[slow]
                await backend.adjust(BUNDLE, {row.ifindex: Adjusted(lag=10**9)})
                shares = await gained(backend, 50)
                assert shares[slow] <= 5 and shares[usual] >= 45  # groups have no method

    namespace.run(body)


@backends
def test_an_adjustment_outlives_a_table_for_the_slaves_that_stay(
    namespace: Namespace, tmp_path: Path, make: Make
) -> None:
    namespace.ip(*LINKS)

    async def body() -> None:
        backend, other = make(tmp_path), make(tmp_path)
        async with bundle(backend, namespace):
            await backend.configure(BUNDLE, TABLE)
            await other.adjust(BUNDLE, {ETH1.ifindex: OUT, ETH3.ifindex: OUT, 4711: OUT})
            assert (await backend.observe())[BUNDLE].table == TABLE
            for slaves in ((ETH1, ETH2, ETH3), (ETH3, ETH1)):
                table = replace(TABLE, slaves=slaves)
                await backend.configure(BUNDLE, table)
                assert (await backend.observe())[BUNDLE].table == table
                shares = await gained(backend, 30)
                assert [count > 0 for count in shares] == [row is not ETH1 for row in slaves]
            for slaves in ((ETH2, ETH3), (ETH2, ETH1)):
                await backend.configure(BUNDLE, replace(TABLE, slaves=slaves))
                assert all(await gained(backend, 30))

    namespace.run(body)


@backends
def test_no_slave_is_left_where_all_are_out(
    namespace: Namespace, tmp_path: Path, make: Make
) -> None:
    namespace.ip(*LINKS)

    async def body() -> None:
        backend = make(tmp_path)
        async with bundle(backend, namespace):
            await backend.configure(BUNDLE, TABLE)
            await backend.adjust(BUNDLE, {ETH1.ifindex: OUT, ETH2.ifindex: OUT})
            send(10)
            while (await backend.statistics(BUNDLE)).dropped.get("no_slave", 0) < 10:
                await asyncio.sleep(0.01)
            await backend.adjust(BUNDLE, {})
            assert all(await gained(backend, 30))

    namespace.run(body)


@backends
def test_what_cannot_be_adjusted_is_refused(
    namespace: Namespace, tmp_path: Path, make: Make
) -> None:
    namespace.ip(*LINKS)

    async def body() -> None:
        backend = make(tmp_path)
        with pytest.raises(ApplyError, match=BUNDLE):
            await backend.adjust(BUNDLE, {})
        async with bundle(backend, namespace):
            await backend.adjust(BUNDLE, {ETH1.ifindex: OUT})
            await backend.configure(BUNDLE, SHARES)
            assert all(await gained(backend, 30))
            for wrong in (Adjusted(bandwidth=999), Adjusted(lag=-1)):
                with pytest.raises(ApplyError, match=BUNDLE):
                    await backend.adjust(BUNDLE, {ETH1.ifindex: wrong})
            assert all(await gained(backend, 30))

    namespace.run(body)
