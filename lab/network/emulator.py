"""A link emulated between two Ethernet devices.

``python -m lab.network.emulator LEFT RIGHT SHAPE``.

Every frame that comes in at one device leaves at the other when :class:`lab.network.shaper.Shaper`
says so; see there for the model. Whoever sends sees a modem behind Ethernet: no back-pressure.
Frames keep their virtio-net header, so partial checksums survive. The devices must deliver single
wire frames: a GSO train would be shaped as one frame.

SHAPE is a JSON object of :class:`~lab.network.shaper.Shape`'s fields. Each line on stdin has the
numbers of directions (0: left to right) and another one, ``[[0, 1], {...}]``, and changes those
fields; the answer, a line on stdout, is the statistics of both directions as JSON, and so is the
first line, printed once frames are carried. Ends with stdin.
"""

import contextlib
import gc
import json
import os
import select
import socket
import sys
from bisect import insort
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import monotonic_ns

from lab.network.shaper import Shape, Shaper

SOL_PACKET = 263
PACKET_VNET_HDR = 15
PACKET_IGNORE_OUTGOING = 23
SO_RCVBUFFORCE = 33
ETH_P_ALL = 3

VNET_HEADER = 10
LARGEST = VNET_HEADER + 14 + 65535
RECEIVE_BUFFER = 16 << 20
BATCH = 32


class Direction:
    """Frames on their way from one socket to the other, in the order in which they arrive."""

    def __init__(self, source: socket.socket, sink: socket.socket, shaper: Shaper) -> None:
        self.source = source
        self.shaper = shaper
        self._receive: Callable[[int], bytes] = source.recv
        self._send: Callable[[bytes], int] = sink.send
        self._line: deque[tuple[int, bytes]] = deque()

    def read(self) -> None:
        """Take in what has come, at most a batch."""
        line = self._line
        for _ in range(BATCH):
            try:
                frame = self._receive(LARGEST)
            except OSError:  # nothing more to read, or the device is down
                return
            due = self.shaper.arrival(monotonic_ns(), len(frame) - VNET_HEADER)
            if due is None:
                continue
            if line and due < line[-1][0]:
                insort(line, (due, frame), key=_due)
            else:
                line.append((due, frame))

    def deliver(self) -> int | None:
        """Send what is due; return when the next frame is, ns, None if the line is empty."""
        line = self._line
        while line and line[0][0] <= monotonic_ns():
            with contextlib.suppress(OSError):  # the device is down: the frame is gone
                self._send(line.popleft()[1])
        return line[0][0] if line else None


def _due(item: tuple[int, bytes]) -> int:
    return item[0]


def _open(device: str) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
    sock.setblocking(False)
    sock.bind((device, ETH_P_ALL))
    return sock


def _be_punctual() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/timerslack_ns").write_text("1")
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    gc.freeze()
    gc.disable()


def _tell(shapers: list[Shaper]) -> None:
    print(json.dumps([shaper.statistics() for shaper in shapers]), flush=True)


def main(left: str, right: str, shape: str) -> None:
    """Carry frames until stdin ends; OSError if a device is not there."""
    ends = _open(left), _open(right)
    shapers = [Shaper(Shape(**json.loads(shape)), seed=device) for device in (left, right)]
    directions = [
        Direction(source, sink, shaper)
        for source, sink, shaper in zip(ends, reversed(ends), shapers, strict=True)
    ]
    by_source = {direction.source.fileno(): direction for direction in directions}
    requests = sys.stdin.fileno()
    _be_punctual()
    _tell(shapers)
    while True:
        due = [time for direction in directions if (time := direction.deliver()) is not None]
        timeout = max(0, min(due) - monotonic_ns()) / 1e9 if due else None
        for ready in select.select([*by_source, requests], [], [], timeout)[0]:
            if ready != requests:
                by_source[ready].read()
            elif line := sys.stdin.readline():
                numbers, changes = json.loads(line)
                for number in numbers:
                    shapers[number].shape = replace(shapers[number].shape, **changes)
                _tell(shapers)
            else:
                return


if __name__ == "__main__":
    main(*sys.argv[1:])
