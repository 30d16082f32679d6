"""Changes what is in force, beside another process that does so too.

What is put into force is derived from what is, and is refused if that is another by then: then it
is derived again (docs/adr/0030-adjusting.md).
"""

import asyncio
import errno
from collections.abc import Callable
from ctypes import c_uint32
from pathlib import Path

from ipeql.backends import table as tables
from ipeql.backends.bpf import adjusting
from ipeql.backends.bpf.dataplane import Dataplane
from ipeql.backends.bpf.layout import Incoming, Origins
from ipeql.backends.ebpf import libbpf, pins
from ipeql.state.path import Adjustments

TRIES = 100
"""So often a change is derived again: the other one takes microseconds, some times a second."""

PAUSE_S = 0.001

_NAMES = ("adjust", "origins")
_DONE = 0  # TC_ACT_OK
_ZERO = c_uint32(0)


async def put_in_force(running: Dataplane, wanted: Incoming) -> None:
    """Put a table into force, with what the slaves that stay are adjusted by; OSError."""

    def attempt(known: Origins) -> int:
        adjusting.carry(wanted, known)
        libbpf.update(running["incoming"], _ZERO, wanted)
        return libbpf.run(running["configure"], libbpf.SkBuff(), bytes(60))

    await _change(running, attempt)


async def _change(running: Dataplane, attempt: Callable[[Origins], int]) -> None:
    for _ in range(TRIES):
        known = libbpf.lookup(running["origins"], _ZERO, Origins())
        if attempt(known) == _DONE:
            return
        await asyncio.sleep(PAUSE_S)
    raise OSError(errno.EAGAIN, "the slave table changes all the time")


class Adjuster:
    """The descriptors that adjusting a dataplane takes, kept open."""

    def __init__(self, place: Path) -> None:
        self._program = place / _NAMES[0]
        self._inode = self._program.stat().st_ino
        self._running = Dataplane(place, _NAMES)

    def is_current(self) -> bool:
        """Say whether this is the dataplane that is pinned."""
        try:
            return self._program.stat().st_ino == self._inode
        except FileNotFoundError:
            return False

    async def adjust(self, adjustments: Adjustments) -> None:
        """Replace all earlier adjustments; OSError, or ValueError where one cannot be."""
        found = tables.kept(adjustments, adjustments)

        def attempt(known: Origins) -> int:
            wanted = adjusting.adjusting(known, found)
            return libbpf.run(self._running["adjust"], libbpf.SkBuff(), bytes(wanted))

        await _change(self._running, attempt)

    def close(self) -> None:
        """Close the descriptors."""
        self._running.close()


class Adjusters:
    """The adjusters of bundles, by bundle."""

    def __init__(self) -> None:
        self._known: dict[str, Adjuster] = {}

    def of(self, bundle: str) -> Adjuster:
        """Return the bundle's; FileNotFoundError where no dataplane is pinned."""
        found = self._known.get(bundle)
        if found is None or not found.is_current():
            self._sweep()
            found = self._known[bundle] = Adjuster(pins.of(bundle))
        return found

    def _sweep(self) -> None:
        """Close those whose dataplane has gone, which would be kept alive otherwise."""
        for bundle, each in list(self._known.items()):
            if not each.is_current():
                self.forget(bundle)

    def forget(self, bundle: str) -> None:
        """Close the bundle's, if there is one."""
        if bundle in self._known:
            self._known.pop(bundle).close()

    def close(self) -> None:
        """Close all of them."""
        for bundle in list(self._known):
            self.forget(bundle)
