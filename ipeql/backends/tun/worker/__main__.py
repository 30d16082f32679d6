"""The worker process: reads the device, stripes, follows the kernel, answers daemon and prober.

One thread, one loop. It is started by the backend with the device's descriptor and a listening
SOCK_SEQPACKET socket. It ends on request or on SIGTERM, after sending its held packets, or when
its device is gone.
"""

import argparse
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from select import select
from time import monotonic_ns
from typing import Any

from ipeql.backends import table as tables
from ipeql.backends.tun import wire
from ipeql.backends.tun.device import (
    MAX_FRAME,
    VNET_HEADER,
    has_link_header,
    name_of,
    set_stripe_unit,
)
from ipeql.backends.tun.worker.events import Events
from ipeql.backends.tun.worker.marks import Marks
from ipeql.backends.tun.worker.packet import BODY_AT, UNMARKED, framed, parse
from ipeql.backends.tun.worker.rtnl import Requests
from ipeql.backends.tun.worker.striper import Striper
from ipeql.methods import METHODS

BATCH = 32
"""Packets read before timers and events are checked again: less than 1 ms of work."""

NICENESS = -10
"""The priority of a worker whose method holds packets; otherwise it is 0.

A held packet that is sent late arrives out of order. If nothing is held, priority over a sender and
a receiver on the same processors only reduces throughput (one unshaped flow: 0.50 of a plain link
with it, 0.58 without).
"""

SECOND = 10**9

DRAIN_NS = SECOND // 2
"""How long an ending worker continues to send held packets."""


class Worker:
    """The loop and its descriptors.

    Until it has been configured it reads no packets; they stay in the device's queue.
    """

    def __init__(self, tun: int, listener: socket.socket, bundle: int) -> None:
        self._tun = tun
        self._listener = listener
        self._events = Events(bundle)
        self._requests = Requests()
        self._striper = Striper(bundle, self._requests, self._events)
        self._buffer = bytearray(VNET_HEADER.size + MAX_FRAME)
        self._view = memoryview(self._buffer)
        self._framed = has_link_header(tun)
        self._buffers: tuple[bytearray | memoryview, ...] = (self._buffer,)
        if not self._framed:
            self._buffers = (self._view[: VNET_HEADER.size], self._view[BODY_AT:])
        self._handlers: dict[int, Callable[[], None]] = {
            self._events.fileno(): self._react,
            listener.fileno(): self._accept,
        }
        self._marks_of = _marks(tun) if self._framed else _unmarked
        self._end: int | None = None
        self._said: set[str] = set()

    def stop(self) -> None:
        """Read no further packet, and end the loop once nothing is held."""
        self._handlers.pop(self._tun, None)
        self._end = self._end or monotonic_ns() + DRAIN_NS

    def run(self) -> None:
        """Serve until stopped; OSError when the device is gone."""
        second = poll = monotonic_ns()
        ready: Sequence[int] = ()
        while True:
            now = monotonic_ns()
            if now >= second:
                self._striper.every_second(now)
                self._handlers[self._listener.fileno()] = self._accept
                second = now + SECOND
            table = self._striper.table
            if table and now >= poll:
                self._striper.every_poll_interval(now)
                poll = now + table.poll_interval
            for descriptor in ready:
                if handle := self._handlers.get(descriptor):
                    handle()
            release = self._striper.release(now)
            if self._end and (release is None or now >= self._end):
                return
            due = min(second, poll if table else second, release or second)
            timeout = max(0, due - monotonic_ns()) / SECOND
            ready = select(self._handlers, (), (), timeout)[0]

    def _drain(self) -> None:
        """Stripe what the kernel has queued, at most a batch."""
        buffer, view, place = self._buffer, self._view, self._striper.place
        buffers, marks, is_framed = self._buffers, self._marks_of, self._framed
        for _ in range(BATCH):
            try:
                length = os.readv(self._tun, buffers)
            except BlockingIOError:
                return
            if not is_framed:
                length = framed(buffer, length)
            packet = parse(buffer, length, view[BODY_AT:length], marks)
            if packet is None:
                self._striper.dropped["malformed"] += 1
            else:
                place(packet)

    def _react(self) -> None:
        for event in self._events.read():
            self._striper.react(event)

    def _say(self, what: str) -> None:
        """Report a fault, once."""
        if what not in self._said:
            self._said.add(what)
            print(f"ipeql-tun-worker: {what}", file=sys.stderr, flush=True)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError as error:  # EMFILE lasts; without a pause the loop would handle no packets
            del self._handlers[self._listener.fileno()]
            self._say(f"cannot be asked: {error.strerror}")
            return
        self._handlers[client.fileno()] = partial(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        """Answer one request; disconnect a client that is gone or does not read."""
        try:
            data = client.recv(wire.MAX_MESSAGE)
            if data:
                request = wire.decode(data)
                descriptors = [self._tun] if request.get("do") == "descriptor" else []
                answer = wire.encode(self._answer(request))
                socket.send_fds(client, [answer], descriptors, socket.MSG_DONTWAIT)
                return
        except (OSError, ValueError):
            pass
        del self._handlers[client.fileno()]
        client.close()

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        table = self._striper.table
        match request.get("do"):
            case "observe":
                return wire.GREETING | {"table": tables.to_json(table) if table else None}
            case "configure":
                return self._configure(request)
            case "adjust":
                return self._adjust(request)
            case "statistics":
                return wire.statistics_to_json(self._striper.statistics())
            case "descriptor":
                return {"pid": os.getpid()}
            case "stop":
                self.stop()
                return {}
        return {"error": f"unknown request {request.get('do')!r}"}

    def _configure(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            table = tables.from_json(request["table"])
            before = self._striper.table
            try:
                set_stripe_unit(self._tun, table.stripe_unit)
                self._striper.configure(table)
            except (OSError, ValueError, TypeError):
                if before:
                    set_stripe_unit(self._tun, before.stripe_unit)
                raise
        except (OSError, ValueError, TypeError, KeyError) as error:
            return {"error": str(error)}
        _set_priority(table.method)
        if self._end is None:
            self._handlers[self._tun] = self._drain
        return {}

    def _adjust(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            self._striper.adjust(tables.adjustments_from_json(request["adjustments"]))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return {"error": str(error)}
        return {}


def _unmarked(_row: int) -> tuple[int, int]:
    return UNMARKED


def _marks(tap: int) -> Callable[[int], tuple[int, int]]:
    """Let marks and priorities pass the device, if the kernel supports it."""
    try:
        return Marks(socket.if_nametoindex(name_of(tap))).of
    except OSError:
        return _unmarked


def _be_punctual() -> None:
    """Ask for timers without slack.

    Source: proc(5), timerslack_ns; select(2) wakes up to that much late, 50 us by default.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/timerslack_ns").write_text("1")


def _set_priority(method: str) -> None:
    """Take the share of the processor that the method needs, if allowed."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS if METHODS[method].holds else 0)


def _lowest(descriptor: int) -> int:
    """Give a descriptor a low number: select(2) takes none above 1023."""
    low = os.dup(descriptor)
    os.close(descriptor)
    return low


def main() -> int:
    """Run the worker of one bundle."""
    parser = argparse.ArgumentParser(prog="ipeql-tun-worker", description=__doc__)
    parser.add_argument("bundle", help="name of the bundle")
    parser.add_argument("ifindex", type=int, help="ifindex of the bundle's device")
    parser.add_argument("tun", type=int, help="descriptor of the TAP or TUN device")
    parser.add_argument("listener", type=int, help="descriptor of the listening socket")
    arguments = parser.parse_args()
    _be_punctual()
    try:
        tun, listener = _lowest(arguments.tun), _lowest(arguments.listener)
        worker = Worker(tun, socket.socket(fileno=listener), arguments.ifindex)
        signal.signal(signal.SIGTERM, lambda *_: worker.stop())
        gc.freeze()
        worker.run()
    except OSError as error:
        print(f"ipeql-tun-worker {arguments.bundle}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
