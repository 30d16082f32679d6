"""Events on their way to everyone who watches: one publisher, any number of bounded readers."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any
from weakref import WeakSet

_MAX_WAITING = 256

_Queue = asyncio.Queue[dict[str, Any]]


class Events:
    """Hand every published event to every subscriber; one that does not keep up loses the oldest.

    An event is a flat JSON object; ``event`` names its kind. Runs in one event loop.
    """

    def __init__(self) -> None:
        self._queues: WeakSet[_Queue] = WeakSet()

    def publish(self, event: dict[str, Any]) -> None:
        """Hand ``event`` to every subscriber, without waiting."""
        for queue in self._queues:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(event)

    def subscribe(self) -> AsyncGenerator[dict[str, Any], None]:
        """Return the events published from now on; closing the generator unsubscribes."""
        queue = _Queue(_MAX_WAITING)
        self._queues.add(queue)
        return _read(queue)


async def _read(queue: _Queue) -> AsyncGenerator[dict[str, Any], None]:
    while True:
        yield await queue.get()
