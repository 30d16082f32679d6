"""Traffic from host a to host b of a lab, and what became of it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from subprocess import PIPE, Popen
from typing import Any

from lab import module
from lab.network.host import Host
from lab.network.hosts import Lab
from lab.network.reordering import extents, first_copies

SECOND = 10**9
RECEIVER = "10.9.0.2"
IPPROTO_MPTCP = 262
UNANSWERED = "the other end of a test flow did not answer"


@dataclass(frozen=True, slots=True)
class TcpResult:
    """What one TCP flow brought: ``goodput`` in bit/s of payload, after the warm-up.

    ``samples`` are (ns, bytes) since the connection was accepted, about every 20 ms.
    """

    goodput: float
    samples: tuple[tuple[int, int], ...]


def measure_tcp(
    lab: Lab,
    destination: str = RECEIVER,
    *,
    seconds: float = 5,
    warmup: float = 1,
    congestion: str = "cubic",
    source: str = "",
) -> TcpResult:
    """Run one TCP flow from a to ``destination`` in b for ``seconds`` and measure its goodput.

    ``warmup`` seconds are left out of the goodput. TimeoutError if no connection comes about.
    """
    flow = TcpFlow(lab, destination, seconds=seconds, congestion=congestion, source=source)
    return flow.finish(warmup)


class TcpFlow:
    """A TCP flow that has been started, for measurements during which something happens.

    ``multipath``: of MPTCP.
    """

    def __init__(
        self,
        lab: Lab,
        destination: str = RECEIVER,
        *,
        seconds: float = 5,
        congestion: str = "cubic",
        source: str = "",
        multipath: bool = False,
    ) -> None:
        protocol = IPPROTO_MPTCP if multipath else 0
        nanoseconds = int(seconds * SECOND)
        self._receiver = _start(lab.b, "tcp_receive", destination, nanoseconds, protocol)
        port = _line(self._receiver)
        self._sender = _start(lab.a, "tcp_send", source, destination, port, congestion, protocol)
        self._samples: list[tuple[int, int]] = []

    def watch(self) -> Iterator[tuple[int, int]]:
        """Yield the samples as they come, (ns, bytes), until the flow ends."""
        assert self._receiver.stdout
        for line in self._receiver.stdout:
            time, total = json.loads(line)
            self._samples.append((time, total))
            yield time, total

    def finish(self, warmup: float = 1) -> TcpResult:
        """Wait for the end of the flow and return its goodput after ``warmup`` seconds."""
        for _ in self.watch():
            pass
        for process in (self._receiver, self._sender):
            process.kill()  # over a dead path the sender would not hear that the receiver is gone
            process.communicate()
        if not self._samples:
            raise TimeoutError(UNANSWERED)
        return TcpResult(goodput(self._samples, int(warmup * SECOND)), tuple(self._samples))


def goodput(samples: Sequence[tuple[int, int]], warmup: int) -> float:
    """Return the bit/s between the first of ``samples`` (ns, bytes) at ``warmup`` and the last.

    TCP hands over in order: a hole in the stream when the window begins or ends shifts the result
    by up to a round trip's (queue included) share of the window.
    """
    end, end_total = samples[-1]
    time, total = next((sample for sample in samples if sample[0] >= warmup), samples[-1])
    return (end_total - total) * 8 * SECOND / (end - time) if end > time else 0.0


def longest_pause(samples: Sequence[tuple[int, int]]) -> int:
    """Return the longest time until a byte was added to ``samples`` (ns, bytes), or none, ns.

    Samples of a flow are about 20 ms apart: it is never less, and above that exact.
    """
    longest = 0
    since = samples[0][0] if samples else 0
    for (_, before), (time, total) in pairwise(samples):
        longest = max(longest, time - since)
        if total > before:
            since = time
    return longest


@dataclass(frozen=True, slots=True)
class UdpResult:
    """What became of a stream of datagrams.

    ``received`` counts different datagrams, ``duplicated`` further copies. ``extents`` has the
    RFC 4737 reordering extent of every reordered one. ``longest_gap`` is the longest time between
    successive arrivals, or from the last one to the end of sending; ``delays`` the one-way delay of
    each arrival; ns. ``lost_at``: when those that never came were due to be sent, ns of
    CLOCK_MONOTONIC.
    """

    sent: int
    received: int
    duplicated: int
    extents: tuple[int, ...]
    longest_gap: int
    delays: tuple[int, ...]
    lost_at: tuple[int, ...] = ()

    @property
    def lost(self) -> int:
        """Return how many never came."""
        return self.sent - self.received

    @property
    def reordered(self) -> float:
        """Return the ratio of reordered datagrams (RFC 4737, 4.1)."""
        return len(self.extents) / self.received if self.received else 0.0

    @property
    def delay(self) -> int:
        """Return the median one-way delay, ns; StatisticsError when nothing came."""
        return round(median(self.delays))


class UdpStream:
    """Datagrams at a constant rate from a to ``destination`` in b, from now until :meth:`finish`.

    ``rate`` datagrams a second with ``size`` bytes of payload, 16 or more. ``back``: from b to a.
    """

    def __init__(
        self,
        lab: Lab,
        destination: str = RECEIVER,
        *,
        rate: int = 1000,
        size: int = 100,
        source: str = "",
        back: bool = False,
    ) -> None:
        sender, receiver = (lab.b, lab.a) if back else (lab.a, lab.b)
        self._rate = rate
        self._receiver = _start(receiver, "udp_receive", destination)
        self.port: int = _line(self._receiver)
        self._sender = _start(sender, "udp_send", source, destination, self.port, rate, size)
        self._start: int = _line(self._sender)

    def finish(self) -> UdpResult:
        """Stop sending, wait for what is under way and return the account."""
        sent, end = json.loads(self._sender.communicate()[0])
        numbers, sent_at, received_at = json.loads(self._receiver.communicate(f"{sent}\n")[0])
        received = len(first_copies(numbers))
        lost = sorted(set(range(sent)).difference(numbers))
        arrivals = received_at or [self._start]
        if arrivals[-1] < end:
            arrivals = [*arrivals, end]
        return UdpResult(
            sent=sent,
            received=received,
            duplicated=len(numbers) - received,
            extents=tuple(extents(numbers)),
            longest_gap=max((after - before for before, after in pairwise(arrivals)), default=0),
            delays=tuple(there - here for here, there in zip(sent_at, received_at, strict=True)),
            lost_at=tuple(self._start + number * SECOND // self._rate for number in lost),
        )


def _start(host: Host, name: str, *arguments: str | int) -> Popen[str]:
    command = module("lab.network.endpoints", json.dumps([name, *arguments]))
    return host.popen(*command, stdin=PIPE, stdout=PIPE)


def _line(process: Popen[str]) -> Any:
    assert process.stdout
    line = process.stdout.readline()
    if not line:
        raise TimeoutError(UNANSWERED)
    return json.loads(line)
