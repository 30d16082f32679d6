"""A slave's carrier comes back, inside the emulated kernel; test_kmod.py runs it."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from struct import pack

import pytest

from ipeql.backends.tun.device import open_device
from ipeql.lab.hosts import Lab
from tests.vm.kmod_bundle import ip

pytestmark = pytest.mark.netns

TUNSETCARRIER = 0x400454E2
LINKS = ("tun1", "tun2")
HELLO = b"hello"
ROUNDS = 4
PACKETS = 10


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab([]) as lab:
        yield lab


def set_carrier(descriptor: int, carrier: bool) -> None:
    """Give or take a TUN device its carrier."""
    fcntl.ioctl(descriptor, TUNSETCARRIER, pack("i", carrier))


def taken(descriptor: int) -> int:
    """Return how many packets of ours a TUN device has sent since the last call."""
    count = 0
    with suppress(BlockingIOError):
        while packet := os.read(descriptor, 2000):
            count += packet.endswith(HELLO)
    return count


def test_a_slave_whose_carrier_returns_loses_nothing(lab: Lab) -> None:
    with ExitStack() as stack:
        descriptors = lab.a.call(lambda: [open_device(name) for name in LINKS])
        for descriptor in descriptors:
            stack.callback(os.close, descriptor)
        ip(lab, "link add ipeql0 type ipeql", *(f"link set {name} up" for name in LINKS))
        ip(lab, *(f"link set {name} master ipeql0" for name in LINKS))
        ip(lab, "link set ipeql0 up", "address add 10.9.0.1/24 dev ipeql0")
        sender = lab.a.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        stack.enter_context(closing(sender))
        sender.connect(("10.9.0.2", 9))
        for _ in range(ROUNDS):
            set_carrier(descriptors[0], False)
            lab.a.wait_running(LINKS[0], False)
            sender.send(HELLO)
            set_carrier(descriptors[0], True)
            for _ in range(PACKETS):
                sender.send(HELLO)
            lab.a.wait_running(LINKS[0])
            assert sum(map(taken, descriptors)) == PACKETS + 1
