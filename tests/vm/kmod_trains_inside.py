"""Trains (GSO) over the kernel module, inside the emulated kernel; test_kmod.py runs it."""

import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from ipeql.state import BundleTable, SlaveStatistics
from lab.network.hosts import Lab
from tests.netns.bundle import RECEIVERS, wait_for
from tests.vm.kmod_bundle import BY_HAND, carries, configure, flow, ip, row, statistics

pytestmark = pytest.mark.netns

UDP_SEGMENT = 103
SIZE = 1000
SEGMENTS = 10
TRAINS = 20
WRITE = 64 << 10

WHOLE = BundleTable("round_robin", slaves=(row(1, 10**9), row(2, 10**9)))
CUT = replace(WHOLE, stripe_unit="packet")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Have two hosts, ipeql0 over both links, and the neighbours known."""
    with Lab([None, None]) as lab:
        lab.plain_receiver()
        ip(lab, *BY_HAND)
        configure(lab, WHOLE)
        for receiver in RECEIVERS:
            both = carries(lab, "eth1", "eth2")
            with flow(lab, receiver, socket.SOCK_DGRAM) as (here, _):
                wait_for(lambda: here.send(b"?") and both())  # noqa: B023
        yield lab


def placed(before: SlaveStatistics, after: SlaveStatistics) -> tuple[int, int]:
    """Return how often a slave was chosen between two looks, and the packets that this made."""
    return after.picks - before.picks, after.packets - before.packets


@pytest.mark.parametrize("receiver", RECEIVERS)
@pytest.mark.parametrize(
    ("table", "picks"),
    [(WHOLE, TRAINS // 2), (CUT, TRAINS * SEGMENTS // 2)],
    ids=["burst", "packet"],
)
def test_the_stripe_unit_is_a_train_or_a_packet(
    lab: Lab, table: BundleTable, picks: int, receiver: str
) -> None:
    configure(lab, table)
    train = b"".join(bytes([number]) * SIZE for number in range(SEGMENTS))
    with flow(lab, receiver, socket.SOCK_DGRAM) as (here, there):
        here.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, SIZE)
        before = statistics(lab).slaves[1]  # the first has the kernel's own multicasts too
        for _ in range(TRAINS):
            here.send(train)
            came = sorted(there.recv(2 * SIZE) for _ in range(SEGMENTS))
            assert b"".join(came) == train
        after = statistics(lab).slaves[1]
    assert placed(before, after) == (picks, TRAINS * SEGMENTS // 2)


def test_the_trains_of_a_connection_are_cut_from_a_change_on(lab: Lab) -> None:
    configure(lab, WHOLE)
    with flow(lab, RECEIVERS[0], socket.SOCK_STREAM) as (here, there):

        def transfer() -> tuple[int, int]:
            before = statistics(lab).slaves[1]
            for number in range(TRAINS):
                here.sendall(bytes([number]) * WRITE)
                left = WRITE
                while left:
                    data = there.recv(left)
                    assert data == bytes([number]) * len(data) != b""
                    left -= len(data)
            return placed(before, statistics(lab).slaves[1])

        chosen, packets = transfer()
        assert packets > 2 * chosen
        configure(lab, CUT)
        chosen, packets = transfer()
        assert packets == chosen
