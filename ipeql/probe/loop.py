"""The prober's loop: probes, answers and reports of all bundles, told what to do by the daemon."""

import asyncio
import contextlib
import json
import time
from typing import Any

from ipeql.paths.cadence import TURN
from ipeql.probe.adjuster import Adjust
from ipeql.probe.bundle import Bundle
from ipeql.probe.channel import task, wire
from ipeql.probe.channel.task import BundleTask
from ipeql.probe.clock import Clock
from ipeql.probe.inlet import Inlet
from ipeql.probe.link import counters
from ipeql.probe.link.next_hops import Neighbours, NextHops
from ipeql.state import PathReport

REPORT_S = 1.0
"""All paths are reported so often, and at once when one comes to another standing or the daemon
asks."""

COUNT = 10**8
"""The counters of the links are read so often, ns: what a slave carries decides how it is probed.
That is done at a turn, if one is due soon."""

SOON = TURN * 3 // 2
"""What arrives waits so long, ns, for a turn that is due. The kernel has stamped it, and an answer
says how long it took: no figure depends on when it is read. But a dataplane that binds late keeps
the queue short by what it is told, and is told at once."""

_SECOND = 10**9


class Prober:
    """All bundles of one network namespace. Raises OSError where that cannot be read.

    ``kernel``: its neighbour table. ``adjust`` tells a dataplane.
    """

    def __init__(self, kernel: Neighbours, adjust: Adjust) -> None:
        self._adjust = adjust
        self._clock = Clock()
        self._inlet = Inlet(self._turn)
        self._next_hops = NextHops(kernel)
        self._devices = counters.Devices()
        self._bundles: dict[str, Bundle] = {}
        self._names: dict[bytes, int] = {}
        self._count = asyncio.Event()
        self._count_at = 0
        self._timer: asyncio.TimerHandle | None = None
        self._news = asyncio.Event()
        self._pings: set[asyncio.Task[None]] = set()

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Do what the daemon says until it closes the channel, or is gone."""
        beside = [
            asyncio.create_task(each)
            for each in (self._next_hops.run(), self._counting(), self._reporting(writer))
        ]
        try:
            with contextlib.suppress(ConnectionError):
                while data := await reader.readline():
                    await self._obey(json.loads(data), writer)
        finally:
            for each in (*beside, *self._pings):
                each.cancel()
            await asyncio.gather(*beside, *self._pings, return_exceptions=True)
            if self._timer:
                self._timer.cancel()
            for bundle in self._bundles.values():
                await bundle.close(keep=True)
            self._inlet.close()
            self._devices.close()

    async def _obey(self, message: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        if "tasks" in message:
            await self._update(message["tasks"])
        elif "report" in message:
            self._news.set()
        elif "ping" in message:
            answering = asyncio.create_task(self._ping(message, writer))
            self._pings.add(answering)
            answering.add_done_callback(self._pings.discard)

    async def _update(self, tasks: list[dict[str, Any]]) -> None:
        wanted: dict[str, BundleTask] = {}
        for data in tasks:
            each = task.from_json(data)
            wanted[each.bundle] = each
            await _let_others_run()
        for name in self._bundles.keys() - wanted.keys():
            await self._bundles.pop(name).close(keep=False)
        for name, each in wanted.items():
            if name in self._bundles:
                self._bundles[name].update(each)
            else:
                self._bundles[name] = Bundle(
                    each,
                    self._clock,
                    self._next_hops,
                    self._adjust,
                    devices=self._devices,
                    inlet=self._inlet,
                    changed=self._news.set,
                )
            await _let_others_run()
        self._know_slaves()
        self._news.set()
        self._turn()

    def _know_slaves(self) -> None:
        """Ask for the next hops of all sessions, and count all slaves."""
        slaves = [each.slaves for each in self._bundles.values()]
        self._next_hops.keep({hop for each in slaves for hop in each.next_hops()})
        self._names = {
            slave.name: ifindex for each in slaves for ifindex, slave in each.by_ifindex.items()
        }

    def _turn(self) -> None:
        """Give every bundle that wants it its turn, and have the next one when it is due."""
        self._clock.look()
        more = self._inlet.take()
        now = self._clock.look()
        for bundle in self._bundles.values():
            if bundle.due <= now:
                bundle.turn(now)
        due = min([bundle.due for bundle in self._bundles.values()], default=now + _SECOND)
        if self._names:
            due = min(due, self._count_if_due(now) + SOON)
        self._wake_at(due / _SECOND)
        waits = any(bundle.is_followed(now) for bundle in self._bundles.values())
        if due <= now + SOON and not more and not waits:
            self._inlet.rest()
        else:
            self._inlet.wait()

    def _wake_at(self, due: float) -> None:
        """Have the next turn at this time of the loop, unless something comes before."""
        if self._timer and self._timer.when() == due:
            return
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(due, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._turn()

    def _count_if_due(self, now: int) -> int:
        """Return when to do it the next time, ns."""
        if now >= self._count_at:
            self._count.set()
            self._count_at = max(self._count_at, now - COUNT) + COUNT
        return self._count_at

    async def _counting(self) -> None:
        while await self._count.wait():
            self._count.clear()
            now, found = time.monotonic_ns(), self._devices.read(self._names)
            for bundle in tuple(self._bundles.values()):
                bundle.count(found, now)
                await _let_others_run()

    async def _reporting(self, writer: asyncio.StreamWriter) -> None:
        while True:
            self._news.clear()
            for bundle in self._bundles.values():
                if bundle.slaves.problems:  # somebody may have mended them meanwhile
                    bundle.renew()
                    self._know_slaves()
            reports: dict[tuple[str, int], PathReport] = {}
            for bundle in tuple(self._bundles.values()):
                reports |= bundle.reports(time.monotonic_ns())
                await _let_others_run()
            problems = [each for bundle in self._bundles.values() for each in bundle.problems]
            writer.write(wire.reported(reports, problems))
            await writer.drain()
            self._turn()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REPORT_S):
                    await self._news.wait()

    async def _ping(self, message: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        bundle = self._bundles.get(message["bundle"])
        slaves = await bundle.ping() if bundle else []
        writer.write(wire.line({"pong": message["ping"], "slaves": slaves}))


async def _let_others_run() -> None:
    """Let probes be sent that are due meanwhile."""
    await asyncio.sleep(0)
