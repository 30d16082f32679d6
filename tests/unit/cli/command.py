"""The command as a process, and a daemon that answers what the test says."""

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import ipeql
from ipeql.api.control import ControlServer
from ipeql.api.events import Events

GOLDEN = Path(__file__).parents[2] / "golden" / "cli"
ROOT = Path(ipeql.__file__).parents[1]
STATUS = json.loads((GOLDEN / "status.json").read_text())

VALID = """\
version: 1
bundles:
  ipeql0:
    method: bw_lag_eq
    max-hold: 200ms
    mtu: 1400
    addresses: [10.9.0.1/24, "fd00:9::1/64"]
    routes:
      - {to: 192.168.40.0/24, via: 10.9.0.2, metric: 50}
    slaves:
      - {name: eth1, bandwidth: 100Mbit, lag: 5ms}
      - {match: {name: "wwan*", mac: "02:00:00:00:00:01"}, bandwidth: 20Mbit, lag: 45ms, up: false}
"""


class Daemon:
    """A real control socket in a thread; the answers are the test's."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = STATUS
        self.changes: dict[str, Any] = {"schema": "ipeql-plan/1", "actions": [], "problems": []}
        self.fault: Exception | None = None
        self.asked: list[object] = []
        self.pinged: list[dict[str, Any]] = []
        self.looked: list[dict[str, Any]] = []
        self.events = Events()
        self.watched = threading.Event()

    async def describe(self) -> dict[str, Any]:
        return self.document

    async def plan(self) -> dict[str, Any]:
        return self.changes

    async def reload(self) -> dict[str, Any]:
        if self.fault:
            raise self.fault
        return self.changes

    async def apply(self) -> dict[str, Any]:
        return await self.reload()

    async def change(self, change: dict[str, Any], saved: bool = False) -> dict[str, Any]:
        self.asked.append(change | {"saved": True} if saved else change)
        return await self.reload()

    async def revert(self, bundle: str = "") -> dict[str, Any]:
        self.asked.append(bundle)
        return self.changes

    async def show(self, bundle: str) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads((GOLDEN / "show.json").read_text())
        return shown

    async def ping(self, bundle: str) -> dict[str, Any]:
        return {"bundle": bundle, "slaves": self.pinged}

    async def paths(self, bundle: str) -> dict[str, Any]:
        if self.fault and not self.looked:
            raise self.fault
        return self.looked.pop(0) if len(self.looked) > 1 or self.fault else self.looked[0]

    def subscribe(self) -> AsyncGenerator[dict[str, Any], None]:
        self.watched.set()
        return self.events.subscribe()

    async def serve(self, path: Path, up: threading.Event) -> None:
        self.loop, self.stop = asyncio.get_running_loop(), asyncio.Event()
        async with ControlServer(self, path):
            up.set()
            await self.stop.wait()


@contextlib.contextmanager
def start(*arguments: str, **options: Any) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-m", "ipeql", *arguments],
        stdin=subprocess.DEVNULL,
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options,
    ) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    with start(*arguments) as process:
        stdout, stderr = process.communicate(timeout=30)
    assert "Traceback" not in stderr
    return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)
