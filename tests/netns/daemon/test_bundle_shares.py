"""How a bundle divides its load: shares, counters, and the precision of delay equalisation."""

import json
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median

import pytest

from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from lab.network.shaper import Shape
from lab.network.traffic import RECEIVER, UdpResult, UdpStream
from tests.netns.bundle import bundle, carries, configuration, packets, slave, traffic, wait_for

pytestmark = pytest.mark.netns

MS = 10**6
MBIT = 10**6
ETH_P_IP = 0x0800
SO_TIMESTAMPNS = 35
SO_RCVBUFFORCE = 33
ENOUGH = 1500
"""Packets after which a share or a median is steady."""

DUPTHRESH = 3
"""RFC 5681, 3.2: TCP takes for lost what three later packets have overtaken."""

ATTEMPTS = 3
"""Whoever else uses the machine can only make the order worse."""


def carried_more(daemon: Ipeqld, count: int) -> Callable[[], bool]:
    """Return a condition: ``count`` packets have been sent since this call."""
    enough = sum(packets(daemon).values()) + count
    return lambda: sum(packets(daemon).values()) >= enough


def test_shares_follow_bandwidth_and_the_counters_add_up() -> None:
    with Lab([None, None]) as lab:
        lab.plain_receiver()
        text = configuration(bundle([slave(1, "80Mbit"), slave(2, "20Mbit")], "bw_load"))
        with Ipeqld(lab.a, text) as daemon:
            before = packets(daemon)
            with traffic(lab, RECEIVER) as results:
                wait_for(carried_more(daemon, ENOUGH))
            sent = {name: count - before[name] for name, count in packets(daemon).items()}
            assert sum(sent.values()) >= results[0].sent
            assert sent["eth1"] / sum(sent.values()) == pytest.approx(0.8, abs=0.01)

            (shown,) = json.loads(lab.a.run("ip", "-j", "-s", "link", "show", "ipeql0"))
            (status,) = daemon.status()["bundles"]
            dropped = sum(sum(each["dropped"].values()) for each in (status, *status["slaves"]))
            assert (
                sum(each["packets"] for each in status["slaves"]) + dropped
                == (shown["stats64"]["tx"]["packets"])
            )
            assert status["slaves"][0]["share"] == pytest.approx(0.8, abs=0.02)


@contextmanager
def arrivals(lab: Lab) -> Iterator[dict[str, list[int]]]:
    """Note when each datagram of the traffic arrives at b, by link.

    The list has the time from its sending to the kernel's receive time stamp, ns, all with the same
    unknown offset: the clocks differ.
    """
    delays: dict[str, list[int]] = {}
    with ExitStack() as stack:
        kind = socket.SOCK_DGRAM
        sockets = {
            link: stack.enter_context(lab.b.call(lambda: socket.socket(socket.AF_PACKET, kind)))
            for link in lab.names
        }
        for link, sock in sockets.items():
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            sock.setblocking(False)
            lab.b.call(lambda sock=sock, link=link: sock.bind((link, ETH_P_IP)))  # type: ignore[misc]
        yield delays
        for link, sock in sockets.items():
            delays[link] = []
            while True:
                try:
                    packet, control, _, _ = sock.recvmsg(2048, 64)
                except BlockingIOError:
                    break
                if packet[9] == socket.IPPROTO_UDP:
                    seconds, nanoseconds = struct.unpack("qq", control[0][2])
                    (sent,) = struct.unpack_from("!q", packet, 20 + 8 + 8)
                    delays[link].append(seconds * 10**9 + nanoseconds - sent)


@contextmanager
def load(lab: Lab) -> Iterator[list[UdpResult]]:
    """Offer 11.6 Mbit/s during the context; what became of it is in the list afterwards."""
    results: list[UdpResult] = []
    stream = UdpStream(lab, rate=1000, size=1400)
    try:
        yield results
    finally:
        results.append(stream.finish())


def test_equalised_paths_deliver_in_order_and_alike() -> None:
    shapes = [Shape(rate=10 * MBIT, delay=lag * MS) for lag in (5, 25)]
    slaves = [slave(1, "10Mbit", "5ms"), slave(2, "10Mbit", "25ms")]
    with Lab(shapes) as lab:
        lab.plain_receiver()
        with Ipeqld(lab.a, configuration(bundle(slaves, "bw_lag_eq"))) as daemon:
            with load(lab):  # until both next hops are known
                wait_for(carries(daemon, "eth1", "eth2"))
            for _ in range(ATTEMPTS):
                with arrivals(lab) as delays, load(lab) as results:
                    wait_for(carried_more(daemon, ENOUGH))
                taken_for_lost = [extent for extent in results[0].extents if extent >= DUPTHRESH]
                if len(taken_for_lost) <= 0.01 * ENOUGH:
                    break
    assert results[0].lost == 0
    assert len(taken_for_lost) <= 0.01 * ENOUGH
    assert min(len(found) for found in delays.values()) > ENOUGH / 4
    assert abs(median(delays["eth1"]) - median(delays["eth2"])) < 1 * MS
    assert 25 * MS < results[0].delay < 28 * MS
