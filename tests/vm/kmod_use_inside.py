"""Slaves in reserve, and flows that stay on one, over the kernel module; test_kmod.py runs it."""

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from ipeql.backends.kmod import layout
from ipeql.backends.kmod.family import Family
from ipeql.errors import ApplyError
from ipeql.state import BundleTable
from lab.network import netns
from lab.network.hosts import Lab
from tests.netns.bundle import RECEIVERS, wait_for
from tests.vm.kmod_bundle import BY_HAND, carries, configure, flow, ip, row, statistics, traffic

pytestmark = pytest.mark.netns

MS = 10**6
DATAGRAMS = socket.SOCK_DGRAM
LINKS = 3
PACKETS = 20
FLOWS = 8
BURST = 50
SLOW = 10**6
"""bit/s: at this rate a datagram of SIZE takes 8 ms, and OVERFLOW_AFTER is two or three of them."""
CRAWL = SLOW // 10
"""What a flow sends here queues for longer than it takes to look at the counters."""
SIZE = 1000
OVERFLOW_AFTER = 20 * MS

ALL = tuple(row(number) for number in range(1, LINKS + 1))
RESERVE = replace(row(2), use="when-down")
OVERFLOW = BundleTable(
    "round_robin",
    slaves=(row(1, SLOW), replace(row(2), use="when-full")),
    overflow_after=OVERFLOW_AFTER,
)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Have two hosts, and ipeql0 over all links of which the neighbours are known."""
    with Lab([None] * LINKS) as lab:
        lab.plain_receiver()
        ip(lab, *BY_HAND)
        configure(lab, BundleTable("round_robin", slaves=ALL))
        for receiver in RECEIVERS:
            everywhere = carries(lab, *(each.name for each in ALL))
            with flow(lab, receiver, DATAGRAMS) as (here, _):
                wait_for(lambda: here.send(b"?") and everywhere())  # noqa: B023
        yield lab


def sent(lab: Lab) -> dict[str, int]:
    return {each.name: each.packets for each in statistics(lab).slaves}


def shares(lab: Lab, before: dict[str, int], count: int = PACKETS) -> dict[str, int]:
    """Return what each slave has sent since, once that is ``count`` packets or more."""
    found: dict[str, int] = {}

    def enough() -> bool:
        found.update({name: now - before[name] for name, now in sent(lab).items()})
        return sum(found.values()) >= count

    wait_for(enough)
    return found


def taken(lab: Lab, sock: socket.socket) -> str:
    """Return the slave that takes all packets of a flow."""
    before = sent(lab)
    for _ in range(PACKETS):
        sock.send(bytes(SIZE))
    assert not any(each.queued_packets for each in statistics(lab).slaves)
    (name,) = (name for name, count in shares(lab, before).items() if count >= PACKETS)
    return name


def test_a_slave_for_when_others_are_down_rests_until_they_are(lab: Lab) -> None:
    configure(lab, BundleTable("round_robin", slaves=(row(3), row(1), RESERVE)))
    ip(lab, "link set eth3 nomaster")  # and the others move up
    with traffic(lab):
        assert shares(lab, sent(lab))["eth2"] == 0
        lab.set_carrier(lab.a, "eth1", False)
        assert shares(lab, sent(lab))["eth1"] == 0
        lab.set_carrier(lab.a, "eth1", True)
        before = sent(lab)
        wait_for(lambda: sent(lab)["eth1"] > before["eth1"])
        assert shares(lab, sent(lab))["eth2"] == 0


@pytest.mark.parametrize("receiver", RECEIVERS)
@pytest.mark.parametrize("method", ["bw_load", "bw_lag_eq"])
def test_a_flow_stays_on_its_slave(lab: Lab, method: str, receiver: str) -> None:
    slaves = tuple(row(number, CRAWL) for number in range(1, LINKS + 1))
    parameters = (("queue_limit", 100_000 * MS),) if method == "bw_lag_eq" else ()
    table = BundleTable(method, parameters, slaves=slaves, stripe_unit="flow")
    configure(lab, BundleTable("round_robin"))  # which ends all virtual queues
    configure(lab, table)
    with ExitStack() as stack:
        ends = [stack.enter_context(flow(lab, receiver, DATAGRAMS)) for _ in range(FLOWS)]
        flows = [here for here, _ in ends]
        found = [taken(lab, sock) for sock in flows]
        assert len(set(found)) > 1
        assert [taken(lab, sock) for sock in flows] == found
        configure(lab, replace(table, slaves=slaves[::-1]))
        assert [taken(lab, sock) for sock in flows] == found
        ip(lab, "link set eth3 nomaster")
        after = [taken(lab, sock) for sock in flows]
    assert "eth3" not in after
    assert all(now == then for now, then in zip(after, found, strict=True) if then != "eth3")


@pytest.mark.parametrize("method", ["round_robin", "bw_lag_eq"])
def test_a_slave_for_when_others_are_full_gets_what_is_too_much(lab: Lab, method: str) -> None:
    configure(lab, replace(OVERFLOW, method=method))
    with flow(lab, RECEIVERS[0], DATAGRAMS) as (sock, _):
        before = sent(lab)
        for _ in range(PACKETS):
            sock.send(bytes(SIZE))
            time.sleep(OVERFLOW_AFTER / 10**9)
        assert shares(lab, before)["eth2"] == 0
        before = sent(lab)
        for _ in range(BURST):
            sock.send(bytes(SIZE))
        found = shares(lab, before, BURST)
    assert found["eth1"] >= OVERFLOW_AFTER * SLOW // (8 * 10**9 * SIZE)
    assert found["eth2"] >= BURST // 4


def test_what_was_set_is_told_and_what_cannot_be_is_refused(lab: Lab) -> None:
    async def asked() -> Any:
        async with Family() as family:
            return await family.bundle("ipeql0")

    for table in (
        replace(OVERFLOW, stripe_unit="flow", overflow_after=0),
        replace(OVERFLOW, stripe_unit="flowlet", slaves=(RESERVE, *OVERFLOW.slaves[:1])),
    ):
        configure(lab, table)
        told = layout.table(netns.inside(lab.a.netns, lambda: asyncio.run(asked())))
        assert told == table
    with pytest.raises(ApplyError, match="needs their bandwidth"):
        configure(lab, replace(OVERFLOW, slaves=(row(1, 0), OVERFLOW.slaves[1])))
