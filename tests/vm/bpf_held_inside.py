"""Nothing that the bpf dataplane holds is lost, inside the emulated kernel.

The kernel that runs here may have no fq. test_dataplanes.py runs it.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from ipaddress import IPv6Address
from typing import Any, TypeVar

import pytest

from ipeql.backends.bpf import holder
from ipeql.backends.bpf.backend import BpfBackend
from ipeql.state import BundleTable, SlaveRow
from lab.network import netns
from lab.network.hosts import Lab
from tests.netns.bundle import RECEIVERS, machine, traffic, wait_for

pytestmark = pytest.mark.netns

T = TypeVar("T")

LAG = 60 * 10**6
SLAVES = {1: "eth1", 2: "eth2", 3: "mac3"}
CHANGES = (
    ("bw_lag_eq", (3, 2)),
    ("bw_lag_eq", (1, 2)),
    ("round_robin", (1, 2)),
    ("bw_lag_eq", (1, 2)),
)
"""Other slaves, and another method. The first slave gets the packets, and has the lower lag: so
they are held."""


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab([None] * 3) as lab:
        lab.plain_receiver()
        lab.a.run("ip", "link", "add", "mac3", "link", "eth3", "type", "macvlan")
        lab.a.set_up("mac3")
        lab.a.wait_running("mac3")
        yield lab


def set_carrier(lab: Lab, carrier: bool) -> None:
    """Give or take the carrier of a macvlan.

    A veth loses its carrier by its peer's end, and the peer refuses packets some microseconds
    earlier: one that is sent then is lost, whoever sends it. Here nothing else changes.
    """
    lab.a.run("ip", "link", "set", "mac3", "protodown", "off" if carrier else "on")
    lab.a.wait_running("mac3", carrier)


def asked(lab: Lab, body: Callable[[BpfBackend], Coroutine[Any, Any, T]]) -> T:
    """Ask a backend that has not been there before, as after the end of a daemon."""
    return netns.inside(lab.a.netns, lambda: asyncio.run(body(BpfBackend())))


def configure(lab: Lab, method: str, *numbers: int) -> None:
    rows = tuple(
        SlaveRow(
            lab.a.index(SLAVES[number]),
            SLAVES[number],
            bandwidth=10**8,
            lag=LAG if number == 2 else 0,
            via6=IPv6Address(f"fd77:{number}::2"),
        )
        for number in numbers
    )
    asked(lab, lambda backend: backend.configure("ipeql0", BundleTable(method, slaves=rows)))


def carry(lab: Lab, name: str) -> None:
    """Wait until a slave has sent 100 packets more."""

    def sent() -> int:
        found = asked(lab, lambda backend: backend.statistics("ipeql0"))
        return next(each.packets for each in found.slaves if each.name == name)

    before = sent()
    wait_for(lambda: sent() - before >= 100, 60)


def test_nothing_that_is_held_is_lost_and_the_end_leaves_nothing(lab: Lab) -> None:
    before = machine(lab)
    asked(lab, lambda backend: backend.create("ipeql0"))
    try:
        lab.a.run("ip", "link", "set", "ipeql0", "up")
        lab.a.run("ip", "address", "add", "10.9.0.1/24", "dev", "ipeql0")
        configure(lab, "bw_lag_eq", 1, 2)
        with traffic(lab, RECEIVERS[0]):
            carry(lab, "eth1")
            for method, numbers in CHANGES:
                configure(lab, method, *numbers)
                carry(lab, SLAVES[numbers[0]])
            lab.a.set_up("eth1", False)
            carry(lab, "eth2")
            lab.a.set_up("eth1", True)
            carry(lab, "eth1")
            configure(lab, "bw_lag_eq", 3, 2)
            carry(lab, "mac3")
            set_carrier(lab, False)
            carry(lab, "eth2")
            set_carrier(lab, True)
            carry(lab, "mac3")
        assert netns.inside(lab.a.netns, lambda: holder.index("ipeql0"))
    finally:
        asked(lab, lambda backend: backend.destroy("ipeql0"))
    assert machine(lab) == before
