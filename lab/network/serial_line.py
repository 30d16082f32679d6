"""A serial line between two terminals: ``python -m lab.network.serial_line KIND RATE``.

Two pseudo-terminals and a wire between them, paced in both directions as an asynchronous line is:
``RATE`` bit/s, ten bits a byte (8N1). What the wire has not taken yet waits in the pseudo-terminal,
up to some 8 KiB where a UART's driver has 4, and then the writer waits: real back-pressure.

KIND ``slip`` makes a SLIP interface of each terminal (the line discipline N_SLIP), ``tty`` leaves
them to others, to pppd. The first line on stdout is the terminals' or the interfaces' names, as
JSON. Ends with stdin; that hangs both ends up.
"""

import array
import fcntl
import json
import os
import select
import sys
import termios
import tty
from contextlib import suppress
from pathlib import Path
from time import monotonic_ns

SECOND = 10**9
BITS_A_BYTE = 10
FIFO, FIFO_NS = 64, 16_000_000
"""What the wire takes at once: a 16750's bytes; on fast lines, what they carry in this time."""

TICK_NS = 20_000_000
"""The longest time between two looks of a wire at its ends. On a clock that leaps over idle time to
the next timer, a wait for a file, as when a program starts, takes no longer than this either.
"""

TIOCSETD = 0x5423
SIOCGIFNAME = 0x8910
N_SLIP = 1
"""Source of the numbers: include/uapi/asm-generic/ioctls.h, linux/sockios.h, linux/tty.h."""


class Wire:
    """One direction, from one terminal's far side to the other's."""

    def __init__(self, source: int, sink: int, rate: int) -> None:
        self.source = source
        self._sink = sink
        self._byte = BITS_A_BYTE * SECOND // rate
        self._fifo = max(FIFO, FIFO_NS // self._byte)
        self._chunk = b""
        self._due = 0

    @property
    def due(self) -> int | None:
        """Return when what is on the wire arrives, ns; None where nothing is."""
        return self._due if self._chunk else None

    def take(self, start: int) -> None:
        """Put on the wire what waits for it, from the time ``start`` on."""
        with suppress(BlockingIOError):
            self._chunk = os.read(self.source, self._fifo)
            self._due = start + len(self._chunk) * self._byte

    def arrive(self, now: int) -> None:
        """Hand over what has arrived and take what follows; a terminal that is full loses it."""
        while self._chunk and self._due <= now:
            chunk, self._chunk = self._chunk, b""
            with suppress(BlockingIOError):
                os.write(self._sink, chunk)
            self.take(self._due)


def carry(wires: tuple[Wire, Wire]) -> None:
    """Carry bytes until stdin ends."""
    stdin = sys.stdin.fileno()
    by_source = {wire.source: wire for wire in wires}
    while True:
        due = [wire.due for wire in wires if wire.due is not None]
        idle = [wire.source for wire in wires if wire.due is None]
        now = monotonic_ns()
        timeout = max(0, min([*due, now + TICK_NS]) - now)
        for ready in select.select([*idle, stdin], [], [], timeout / SECOND)[0]:
            if ready == stdin:
                return
            by_source[ready].take(monotonic_ns())
        for wire in wires:
            wire.arrive(monotonic_ns())


def terminal() -> tuple[int, int]:
    """Return a new raw pseudo-terminal: the wire's side, and the side that interfaces use."""
    wire, side = os.openpty()
    tty.setraw(side, termios.TCSANOW)
    os.set_blocking(wire, False)
    return wire, side


def slip(side: int) -> str:
    """Make a SLIP interface of a terminal and return its name; OSError without the module."""
    fcntl.ioctl(side, TIOCSETD, array.array("i", [N_SLIP]))
    name: bytes = fcntl.ioctl(side, SIOCGIFNAME, bytes(16))
    return name.rstrip(b"\0").decode()


def main(kind: str, rate: str) -> None:
    """Make the line and carry bytes over it until stdin ends."""
    with suppress(OSError):
        Path("/proc/self/timerslack_ns").write_text("1")
    (left, left_side), (right, right_side) = terminal(), terminal()
    sides = (left_side, right_side)
    names = [slip(side) if kind == "slip" else os.ttyname(side) for side in sides]
    print(json.dumps(names), flush=True)
    carry((Wire(left, right, int(rate)), Wire(right, left, int(rate))))


if __name__ == "__main__":
    main(*sys.argv[1:])
