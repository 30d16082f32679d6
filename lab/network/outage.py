"""A link between two hosts that is silent for a while, and what becomes of a flow meanwhile."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lab.network.host import Host
from lab.network.hosts import Lab
from lab.network.tap import Tap
from lab.network.traffic import RECEIVER, SECOND, TcpFlow, UdpStream, longest_pause


@dataclass(frozen=True, slots=True)
class Silence:
    """What happens: ``before`` s of traffic, the link silent for ``lasting`` s, ``after`` s more.

    ``towards``: only in the direction to that host; else in both.
    """

    link: str
    towards: Host | None = None
    before: float = 1.5
    lasting: float = 2.0
    after: float = 1.5


@dataclass(slots=True)
class Times:
    """When the link was silenced and when it was not any more, ns of CLOCK_MONOTONIC."""

    begin: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class Stream:
    """What became of 1000 datagrams a second.

    ``lost``: how many never arrived. ``out``: from the silence to the last datagram sent over the
    silent link. ``back``: from the end of the silence to the first one over that link; None where
    none was. ns.
    """

    lost: int
    out: int
    back: int | None


@contextmanager
def silent(lab: Lab, link: str, towards: Host | None = None) -> Iterator[Times]:
    """Have ``link`` silent in the context; its times are known afterwards."""
    times = Times(time.monotonic_ns())
    lab.shape(link, silent=True, towards=towards)
    try:
        yield times
    finally:
        lab.shape(link, silent=False, towards=towards)
        times.end = time.monotonic_ns()


def stream_through(lab: Lab, silence: Silence, destination: str = RECEIVER) -> Stream:
    """Send 1000 datagrams a second from a while a link is silent."""
    with Tap(lab.a, silence.link) as tap:
        stream = UdpStream(lab, destination)
        time.sleep(silence.before)
        with silent(lab, silence.link, silence.towards) as times:
            time.sleep(silence.lasting)
        time.sleep(silence.after)
        sent = [when for when, _ in tap.datagrams(stream.port)]
        result = stream.finish()
    last = max((when for when in sent if when < times.end), default=times.begin)
    first = min((when for when in sent if when >= times.end), default=None)
    return Stream(
        result.lost, max(0, last - times.begin), None if first is None else first - times.end
    )


def stall_of_tcp(
    lab: Lab, silence: Silence, destination: str = RECEIVER, *, multipath: bool = False
) -> int:
    """Return the longest time between two reads of a TCP receiver since a link was silent, ns.

    ``multipath``: with MPTCP.
    """
    seconds = silence.before + silence.lasting + silence.after
    flow = TcpFlow(lab, destination, seconds=seconds, multipath=multipath)
    begun = int(silence.before * SECOND)
    changes = {begun: True, begun + int(silence.lasting * SECOND): False}
    samples = []
    for now, total in flow.watch():
        samples.append((now, total))
        due = next((when for when in changes if when <= now), None)
        if due is not None:
            lab.shape(silence.link, silent=changes.pop(due), towards=silence.towards)
    flow.finish()
    return longest_pause([sample for sample in samples if sample[0] >= begun])
