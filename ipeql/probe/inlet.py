"""Waits for what arrives on all links, without a wake-up for every packet."""

import asyncio
import select
from collections.abc import Callable, Iterable, Mapping

ROUNDS = 64
"""Packets that are taken from a link before the probes have their turn."""


class Inlet:
    """Calls ``arrived`` when a link has packets, which then has to ``take`` them or ``rest``.

    Belongs to one event loop.
    """

    def __init__(self, arrived: Callable[[], None]) -> None:
        self._arrived = arrived
        self._loop = asyncio.get_running_loop()
        self._poll = select.epoll()
        self._takers: dict[int, Callable[[], None]] = {}
        self._is_waiting = False

    def put(self, takers: Mapping[int, Callable[[], None]]) -> None:
        """Wait for packets at these descriptors, too; each has what takes one."""
        for descriptor in takers:
            self._poll.register(descriptor, select.EPOLLIN)
        self._takers.update(takers)

    def drop(self, descriptors: Iterable[int]) -> None:
        """Wait at these no longer; to be called before they are closed."""
        for descriptor in descriptors:
            self._poll.unregister(descriptor)
            del self._takers[descriptor]

    def take(self) -> bool:
        """Have packets taken, one in turn from all that have some; say whether there may be more.

        To ask for a packet that is not there costs more than to ask once which links have one.
        """
        for _ in range(ROUNDS):
            ready = self._poll.poll(0)
            if not ready:
                return False
            for descriptor, _ in ready:
                self._takers[descriptor]()
        return True

    def wait(self) -> None:
        """Call ``arrived`` from now on."""
        if not self._is_waiting:
            self._loop.add_reader(self._poll.fileno(), self._arrived)
            self._is_waiting = True

    def rest(self) -> None:
        """Do not call it: somebody takes the packets soon."""
        if self._is_waiting:
            self._loop.remove_reader(self._poll.fileno())
            self._is_waiting = False

    def close(self) -> None:
        """End."""
        self.rest()
        self._poll.close()
