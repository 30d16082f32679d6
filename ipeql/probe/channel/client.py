"""The daemon's side of the prober: starts it, tells it what to do, takes its reports."""

import asyncio
import contextlib
import itertools
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from ipeql.errors import ApplyError, Code, Problem
from ipeql.probe.channel import task, wire
from ipeql.probe.channel.task import BundleTask, SlaveTask
from ipeql.state import PathReport, Standing

MODULE = "ipeql.prober"

FIRST_PAUSE_S, LAST_PAUSE_S = 0.1, 10.0
"""Wait before a prober that ended is started again, doubling from the first to the last."""

WELL_S = 60.0
"""A prober that has lived for so long did not end because of how it was started."""

STOP_S = 2.0
"""A prober that is told to end takes at most so long; then it is killed."""

PING_S = 3.0
"""The prober answers a ping within so long, whatever the far ends do."""

FRESH_S = 0.05
"""What was reported so lately is not asked for again: so many may look as like to."""


class ProbeClient:
    """One prober for all bundles; none is running while there is nothing to do for it.

    ``paths``: what was reported last, by (bundle, ifindex). ``problems``: what hinders the prober.
    ``changed`` is called when a path is down or no longer down, or the problems are others;
    ``ended`` with how the prober ended, when it was not meant to.
    """

    def __init__(self, changed: Callable[[], None], ended: Callable[[str], None]) -> None:
        self.paths: dict[tuple[str, int], PathReport] = {}
        self.problems: tuple[Problem, ...] = ()
        self._changed = changed
        self._ended = ended
        self._tasks: tuple[BundleTask, ...] = ()
        self._wanted = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None
        self._reported = asyncio.Event()
        self._reported_at = 0.0
        self._pings: dict[int, asyncio.Future[list[dict[str, Any]]]] = {}
        self._numbers = itertools.count(1)

    def assign(self, tasks: Sequence[BundleTask], *, again: bool = False) -> None:
        """Have these tasks done from now on, and no others.

        ``again``: a dataplane has changed, and is told once more what its paths are like.
        """
        if tuple(tasks) == self._tasks and not again:
            return
        self._tasks = tuple(tasks)
        if self._tasks:
            self._wanted.set()
        self._tell()

    async def run(self) -> None:
        """Keep a prober running while there is something to do, until cancelled."""
        pause = FIRST_PAUSE_S
        while True:
            await self._wanted.wait()
            begin = time.monotonic()
            how = await self._serve()
            if how:
                self._ended(f"the prober ended ({how}); starting another")
                pause = FIRST_PAUSE_S if time.monotonic() - begin > WELL_S else pause
                await asyncio.sleep(pause)
                pause = min(2 * pause, LAST_PAUSE_S)

    async def ping(self, bundle: str) -> list[dict[str, Any]]:
        """Send one probe over each slave now; return what became of each. Raises ApplyError."""
        number = next(self._numbers)
        answer: asyncio.Future[list[dict[str, Any]]] = asyncio.get_running_loop().create_future()
        self._pings[number] = answer
        try:
            if self._writer is None or bundle not in {each.bundle for each in self._tasks}:
                raise ApplyError(_no_probe(bundle))
            self._writer.write(wire.line({"ping": number, "bundle": bundle}))
            async with asyncio.timeout(PING_S):
                return await answer
        except TimeoutError:
            raise ApplyError(_silent(bundle)) from None
        finally:
            del self._pings[number]

    async def look(self, bundle: str) -> list[tuple[SlaveTask, PathReport | None]]:
        """Return the probed slaves and what is known of their paths now. Raises ApplyError."""
        slaves = self._probed(bundle)
        if self._writer is None or not slaves:
            raise ApplyError(_no_probe(bundle))
        if time.monotonic() - self._reported_at > FRESH_S:
            self._reported.clear()
            self._writer.write(wire.line({"report": True}))
            try:
                async with asyncio.timeout(PING_S):
                    await self._reported.wait()
            except TimeoutError:
                raise ApplyError(_silent(bundle)) from None
        return [(each, self.paths.get((bundle, each.ifindex))) for each in slaves]

    def _probed(self, bundle: str) -> list[SlaveTask]:
        tasks = (each for each in self._tasks if each.bundle == bundle)
        return [slave for each in tasks for slave in each.slaves if slave.probe]

    async def _serve(self) -> str:
        """Run one prober; return how it ended, empty where there was nothing left to do."""
        try:
            child, ours = _start()
        except OSError as error:
            return error.strerror or str(error)
        reader, self._writer = await asyncio.open_connection(sock=ours, limit=wire.MAX_LINE)
        try:
            self._tell()
            meant = await self._read(reader)
        finally:
            self._writer.close()
            self._writer = None
            status = await asyncio.shield(asyncio.to_thread(_end, child))
            self.problems = ()
        return "" if meant else _in_words(status)

    async def _read(self, reader: asyncio.StreamReader) -> bool:
        """Take reports until the prober ends, or, True, has undone all that it did."""
        with contextlib.suppress(OSError, ValueError):
            while data := await reader.readline():
                try:
                    self._take(json.loads(data))
                except (ValueError, KeyError, TypeError, AttributeError):
                    return False
                if not self._tasks and not self.paths:
                    self._wanted.clear()
                    return True
        return False

    def _take(self, message: dict[str, Any]) -> None:
        if "pong" in message:
            answer = self._pings.get(message["pong"])
            if answer and not answer.done():
                answer.set_result(message["slaves"])
            return
        before = self._down(), self.problems
        self.paths, self.problems = wire.reports(message), wire.problems(message)
        self._reported_at = time.monotonic()
        self._reported.set()
        if before != (self._down(), self.problems):
            self._changed()

    def _down(self) -> set[tuple[str, int]]:
        return {each for each, path in self.paths.items() if path.standing is Standing.DOWN}

    def _tell(self) -> None:
        if self._writer:
            self._writer.write(wire.line({"tasks": task.to_json(self._tasks)}))


def _start() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a prober; return it and our end of its channel. Raises OSError.

    It is a session of its own: what ends a daemon in the foreground does not end it, the end of the
    channel does. ``-P``: see ipeql.backends.tun.process.
    """
    ours, its = socket.socketpair()
    with its:
        try:
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", MODULE, str(its.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(its.fileno(),),
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise
    return child, ours


def _end(child: subprocess.Popen[bytes]) -> int:
    """Wait for a prober whose channel is closed, at most STOP_S, and return its status."""
    try:
        return child.wait(STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


def _in_words(status: int) -> str:
    return f"status {status}" if status >= 0 else signal.Signals(-status).name


def _no_probe(bundle: str) -> Problem:
    message = f"{bundle}: no slave of it is probed"
    return Problem(Code.NO_PROBE, message, "give it 'probe: {to: ADDRESS}'", bundle=bundle)


def _silent(bundle: str) -> Problem:
    message = f"{bundle}: the prober does not answer"
    return Problem(Code.TIMED_OUT, message, "look into the journal of ipeql.service", bundle=bundle)
