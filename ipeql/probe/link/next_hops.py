"""The link addresses of next hops, asked of the kernel beside the loop.

The kernel's neighbour table is behind a lock that a reload of many bundles holds for long (rtnl):
a thread asks. An address that was known once is used until there is another: a next hop that does
not answer is then a path that does not answer.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Protocol

REFRESH_S = 1.0
"""The kernel's table is read so often while all is known."""

ASKING_S = 0.1
"""And so often while a next hop is not known."""

CONFIRM_ROUNDS = 5
"""In every so many rounds the kernel confirms a known neighbour: it has forgotten it after
net.ipv4.neigh.*.gc_stale_time (60 s) otherwise, and does not notice a new one at its address."""


class Known(Protocol):
    """What the kernel knows of a neighbour; ``lladdr``: empty where it does not know it."""

    @property
    def lladdr(self) -> bytes:
        """Return its link address."""
        ...


class Neighbours(Protocol):
    """The kernel's neighbour table; the calls may block."""

    def neighbour(self, ifindex: int, address: bytes) -> Known:
        """Return what is known of a neighbour."""
        ...

    def use_neighbour(self, ifindex: int, address: bytes) -> None:
        """Have the kernel find, or confirm, a neighbour."""
        ...


@dataclass(slots=True)
class _Hop:
    lladdr: bytes = b""
    rounds: int = 0


class NextHops:
    """Next hops by link and address, packed; those that nobody asks for any more are dropped."""

    def __init__(self, kernel: Neighbours) -> None:
        self._kernel = kernel
        self._hops: dict[tuple[int, bytes], _Hop] = {}
        self._new = asyncio.Event()

    def keep(self, wanted: set[tuple[int, bytes]]) -> None:
        """Know these next hops, (ifindex, address), from now on, and no others."""
        self._hops = {each: self._hops.get(each) or _Hop() for each in wanted}
        self._new.set()

    def lladdr(self, ifindex: int, address: bytes) -> bytes:
        """Return the link address of a next hop, empty while it is not known."""
        hop = self._hops.get((ifindex, address))
        return hop.lladdr if hop else b""

    async def run(self) -> None:
        """Keep asking, until cancelled."""
        while True:
            self._new.clear()
            await asyncio.to_thread(self._ask, dict(self._hops))
            unknown = any(not hop.lladdr for hop in self._hops.values())
            pause = (ASKING_S if unknown else REFRESH_S) if self._hops else None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._new.wait()

    def _ask(self, hops: dict[tuple[int, bytes], _Hop]) -> None:
        for (ifindex, address), hop in hops.items():
            known = self._kernel.neighbour(ifindex, address).lladdr
            hop.lladdr = known or hop.lladdr
            if not known or hop.rounds % CONFIRM_ROUNDS == 0:
                self._kernel.use_neighbour(ifindex, address)
            hop.rounds += 1
