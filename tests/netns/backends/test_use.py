"""Slaves in reserve, flows that stay on their slave, classes and copies, on every dataplane."""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest

from ipeql.state import BundleTable
from ipeql.state.path import Adjusted
from tests.netns.backends.test_adjust import OUT, gained, stream
from tests.netns.backends.test_backend_contract import (
    BUNDLE,
    ETH1,
    ETH2,
    ETH3,
    LINKS,
    Make,
    backends,
    bundle,
)
from tests.netns.conftest import Namespace
from tests.netns.two_links import listener

pytestmark = pytest.mark.netns

SPARE = BundleTable("round_robin", slaves=(ETH1, replace(ETH2, use="when-down")))
SLOW = replace(ETH1, bandwidth=10**6)
OVERFLOWING = BundleTable("round_robin", slaves=(SLOW, replace(ETH2, use="when-full")))
FLOWS = BundleTable("bw_load", stripe_unit="flow", slaves=(ETH1, ETH2))

MARK = b"flow "
PORTS = range(20000, 20016)
"""With each of these as its source port there is a flow."""


@backends
def test_a_spare_gets_packets_while_no_other_is_usable(
    namespace: Namespace, tmp_path: Path, make: Make
) -> None:
    namespace.ip(*LINKS)

    async def body() -> None:
        backend = make(tmp_path)
        async with bundle(backend, namespace):
            for method in sorted(backend.capabilities().methods):
                await backend.configure(BUNDLE, replace(SPARE, method=method))
                assert await gained(backend, 20) == [20, 0], method
                await backend.adjust(BUNDLE, {ETH1.ifindex: OUT})
                assert await gained(backend, 20) == [0, 20], method
                await backend.adjust(BUNDLE, {})
                assert await gained(backend, 20) == [20, 0], method

    namespace.run(body)


@backends
def test_nothing_is_lost_when_a_spare_comes_in_and_goes(
    namespace: Namespace, tmp_path: Path, make: Make
) -> None:
    namespace.ip(*LINKS)

    async def body() -> None:
        backend = make(tmp_path)
        async with bundle(backend, namespace):
            await backend.configure(BUNDLE, SPARE)
            with stream("far1", "far2") as packets:
                await asyncio.sleep(0.2)
                out = packets.sent
                await backend.adjust(BUNDLE, {ETH1.ifindex: OUT})
                await asyncio.sleep(0.2)
                await backend.adjust(BUNDLE, {})
                back = packets.sent + 1  # one may be on its way
                await asyncio.sleep(0.2)
            first, second = packets.arrived
            assert sorted(first + second) == list(range(packets.sent))
            assert second
            assert all(out <= number < back for number in second)

    namespace.run(body)


@backends
def test_overflow_takes_packets_while_all_others_are_full(
    namespace: Namespace, tmp_path: Path, make: Make
) -> None:
    namespace.ip(*LINKS)

    async def body() -> None:
        backend = make(tmp_path)
        async with bundle(backend, namespace):
            # auto_bw chooses by the real queues, which are empty here.
            for method in sorted(backend.capabilities().methods - {"auto_bw"}):
                await backend.configure(BUNDLE, replace(OVERFLOWING, method=method))
                assert await gained(backend, 10) == [10, 0], method
                assert min(await gained(backend, 500)) > 0, method
                await asyncio.sleep(0.3)
                await backend.adjust(BUNDLE, {ETH1.ifindex: OUT})
                assert await gained(backend, 10) == [0, 10], method
                await backend.adjust(BUNDLE, {})

    namespace.run(body)


def send_flows(packets: int) -> None:
    """Send numbered packets of every flow, in turns."""
    with ExitStack() as stack:
        senders = []
        for port in PORTS:
            sender = stack.enter_context(closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)))
            sender.bind(("10.9.0.1", port))
            senders.append(sender)
        for number in range(packets):
            for sender in senders:
                port = sender.getsockname()[1]
                sender.sendto(MARK + port.to_bytes(2, "big") + bytes([number]), ("10.9.0.2", 9))


def collect(far: Sequence[socket.socket]) -> dict[int, dict[int, list[int]]]:
    """Return which packets of each flow arrived where: by port, by the place in ``far``."""
    found: dict[int, dict[int, list[int]]] = {port: {} for port in PORTS}
    for place, each in enumerate(far):
        each.settimeout(0.2)
        try:
            while True:
                _, mark, rest = each.recv(2000).rpartition(MARK)
                if mark:
                    port = int.from_bytes(rest[:2], "big")
                    found[port].setdefault(place, []).append(rest[2])
        except TimeoutError:
            continue
    return found


async def places(far: Sequence[socket.socket], packets: int) -> dict[int, int]:
    """Send packets of every flow, in order to one place each, and return which that was."""
    await asyncio.to_thread(send_flows, packets)
    found = await asyncio.to_thread(collect, far)
    assert all(list(each.values()) == [list(range(packets))] for each in found.values()), found
    return {port: next(iter(each)) for port, each in found.items()}


@pytest.mark.parametrize("unit", ["flow", "flowlet"])
@backends
def test_a_flow_stays_on_its_slave(
    namespace: Namespace, tmp_path: Path, make: Make, unit: str
) -> None:
    namespace.ip(*LINKS)

    async def body() -> None:
        backend = make(tmp_path)
        async with bundle(backend, namespace):
            await backend.configure(BUNDLE, replace(FLOWS, stripe_unit=unit))
            await backend.adjust(BUNDLE, {ETH2.ifindex: Adjusted(lag=10**9)})
            with ExitStack() as stack:
                far = [stack.enter_context(closing(listener(f"far{n}"))) for n in (1, 2, 3)]
                assert set((await places(far, 10)).values()) == {0, 1}

    namespace.run(body)


@backends
def test_a_flow_moves_when_its_slave_is_out_and_stays_over_a_new_table(
    namespace: Namespace, tmp_path: Path, make: Make
) -> None:
    namespace.ip(*LINKS)

    async def body() -> None:
        backend = make(tmp_path)
        async with bundle(backend, namespace):
            await backend.configure(BUNDLE, FLOWS)
            with ExitStack() as stack:
                far = [stack.enter_context(closing(listener(f"far{n}"))) for n in (1, 2, 3)]
                first = await places(far, 5)
                await backend.configure(BUNDLE, replace(FLOWS, slaves=(ETH3, ETH1, ETH2)))
                assert await places(far, 5) == first
                await backend.adjust(BUNDLE, {ETH1.ifindex: OUT})
                moved = await places(far, 5)
                assert all(moved[port] == place for port, place in first.items() if place == 1)
                assert 0 not in moved.values()

    namespace.run(body)


@backends
def test_what_goes_to_a_group_does_not_take_a_spare(
    namespace: Namespace, tmp_path: Path, make: Make
) -> None:
    namespace.ip(*LINKS)

    async def body() -> None:
        backend = make(tmp_path)
        async with bundle(backend, namespace):
            await backend.configure(BUNDLE, replace(SPARE, slaves=SPARE.slaves[::-1]))
            await asyncio.to_thread(namespace.ip, f"route add 224.0.0.0/4 dev {BUNDLE}")
            spare, _ = await gained(backend, 20, "224.0.0.99")
            assert spare == 0
            await backend.adjust(BUNDLE, {ETH1.ifindex: OUT})
            _, usual = await gained(backend, 20, "224.0.0.99")
            assert usual == 0

    namespace.run(body)


def send_class(tos: int, packets: int) -> None:
    """Send numbered packets with this TOS, of which the upper 6 bits are the DSCP."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
        sock.bind(("10.9.0.1", PORTS[0]))
        for number in range(packets):
            sock.sendto(MARK + PORTS[0].to_bytes(2, "big") + bytes([number]), ("10.9.0.2", 9))


async def arrivals(far: Sequence[socket.socket], tos: int, packets: int) -> list[list[int]]:
    """Send packets of a class, and return which arrived in each place."""
    await asyncio.to_thread(send_class, tos, packets)
    found = (await asyncio.to_thread(collect, far))[PORTS[0]]
    return [found.get(place, []) for place in range(len(far))]


EF, AF41 = 46, 34
ALL = list(range(12))


@backends
def test_every_packet_takes_as_many_slaves_as_it_has_copies(
    namespace: Namespace, tmp_path: Path, make: Make
) -> None:
    namespace.ip(*LINKS)

    async def body() -> None:
        backend = make(tmp_path)
        async with bundle(backend, namespace):
            slow = replace(ETH1, lag=50 * 10**6)
            table = BundleTable("duplicate", slaves=(slow, ETH2, ETH3))
            with ExitStack() as stack:
                far = [stack.enter_context(closing(listener(f"far{n}"))) for n in (1, 2, 3)]
                await backend.configure(BUNDLE, table)
                assert await arrivals(far, 0, 12) == [[], ALL, ALL]
                await backend.configure(BUNDLE, replace(table, parameters=(("copies", 3),)))
                assert await arrivals(far, 0, 12) == [ALL, ALL, ALL]
                await backend.adjust(BUNDLE, {ETH2.ifindex: OUT})
                assert await arrivals(far, 0, 12) == [ALL, [], ALL]

    namespace.run(body)


@backends
def test_a_class_goes_its_own_way_whatever_the_method(
    namespace: Namespace, tmp_path: Path, make: Make
) -> None:
    namespace.ip(*LINKS)

    async def body() -> None:
        backend = make(tmp_path)
        async with bundle(backend, namespace):
            far2 = replace(ETH2, lag=2 * 10**6)
            slow = replace(ETH3, lag=50 * 10**6)
            table = BundleTable("round_robin", slaves=(slow, far2, ETH1))
            table = replace(table, light_dscps=1 << AF41, duplicate_dscps=1 << EF)
            with ExitStack() as stack:
                far = [stack.enter_context(closing(listener(f"far{n}"))) for n in (1, 2, 3)]
                for method in sorted(backend.capabilities().methods - {"duplicate"}):
                    await backend.configure(BUNDLE, replace(table, method=method))
                    assert await arrivals(far, EF << 2, 12) == [ALL, ALL, []], method
                    assert await arrivals(far, AF41 << 2, 12) == [ALL, [], []], method
                await backend.configure(BUNDLE, table)
                assert [len(each) for each in await arrivals(far, 0, 12)] == [4, 4, 4]

    namespace.run(body)
