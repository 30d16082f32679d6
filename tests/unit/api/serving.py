"""A control server of a manager that does nothing, and its client."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

from ipeql.api.control import ControlServer
from ipeql.api.events import Events
from ipeql.errors import Code, ConfigError, Mark, NotFoundError, Problem


class FakeManager:
    def __init__(self) -> None:
        self.events = Events()
        self.watcher_left = asyncio.Event()
        self.described: dict[str, Any] = {"bundles": []}
        self.reloads = 0
        self.hold = asyncio.Event()
        self.hold.set()

    async def describe(self) -> dict[str, Any]:
        return self.described

    async def plan(self) -> dict[str, Any]:
        raise ZeroDivisionError("a bug")

    async def reload(self) -> dict[str, Any]:
        await self.hold.wait()
        self.reloads += 1
        mark = Mark("/etc/ipeql/a.yaml", 3, 5, "    methd: bw_load", 5)
        raise ConfigError(Problem(Code.UNKNOWN_KEY, "unknown key 'methd'", "say 'method'", mark))

    async def apply(self) -> dict[str, Any]:
        return {"actions": []}

    async def change(self, change: dict[str, Any], saved: bool = False) -> dict[str, Any]:
        return {"change": change, "saved": saved}

    async def revert(self, bundle: str = "") -> dict[str, Any]:
        return {"reverted": bundle}

    async def show(self, bundle: str) -> dict[str, Any]:
        raise NotFoundError(Problem(Code.NO_SUCH_BUNDLE, f"no bundle {bundle!r}"))

    async def ping(self, bundle: str) -> dict[str, Any]:
        return {"bundle": bundle, "slaves": []}

    async def paths(self, bundle: str) -> dict[str, Any]:
        return {"bundle": bundle, "time_ns": 0, "slaves": []}

    def subscribe(self) -> AsyncGenerator[dict[str, Any], None]:
        return self.watch(self.events.subscribe())

    async def watch(
        self, events: AsyncGenerator[dict[str, Any], None]
    ) -> AsyncGenerator[dict[str, Any], None]:
        try:
            async for event in events:
                yield event
        finally:
            self.watcher_left.set()


def serve(path: Path, use: Callable[[FakeManager], Awaitable[None]]) -> None:
    async def run() -> None:
        manager = FakeManager()
        async with ControlServer(manager, path), asyncio.timeout(10):
            await use(manager)

    asyncio.run(run())


async def ask(path: Path, data: bytes) -> list[dict[str, Any]]:
    """Send ``data``, close our half, and return everything that is answered."""
    reader, writer = await asyncio.open_unix_connection(str(path), limit=2**24)
    writer.write(data)
    writer.write_eof()
    answers = [json.loads(line) async for line in reader]
    writer.close()
    return answers


def request(method: str, **parameters: object) -> bytes:
    return json.dumps({"method": method, "parameters": parameters}).encode() + b"\n"
