"""What the receiving program is told, and what is refused; before tcx it is a filter of clsact."""

import errno
import os
import socket
import subprocess
from dataclasses import replace
from ipaddress import IPv6Address, ip_address, ip_interface, ip_network

import pytest

from ipeql.backends.ebpf import libbpf, pins
from ipeql.backends.receive import groups, layout, receiver
from ipeql.backends.receive.program import Program
from ipeql.state import Receiver, Receiving
from tests.netns.conftest import Namespace

pytestmark = pytest.mark.netns

BUNDLE = "ipeql0"
LINKS = (
    "link add eth1 type veth peer name far1",
    "link set eth1 up",
    "link set far1 up",
    f"link add {BUNDLE} type veth peer name other",
)
FRAME = bytes.fromhex(
    "020000000001 020000000009 0800 45000020 00000000 40110000 0a090002 0a090001"
) + bytes(12)
"""A UDP datagram from a network of the bundle to its address."""


def wanted() -> Receiver:
    slave = Receiving(
        socket.if_nametoindex("eth1"), "eth1", "02:00:00:00:00:01", (ip_interface("10.7.7.1/24"),)
    )
    routed, addresses = (ip_network("10.9.0.0/24"),), (ip_address("10.9.0.1"),)
    device = socket.if_nametoindex(BUNDLE)
    return Receiver(device, "02:00:00:00:00:02", True, (slave,), routed, addresses)


def clsact() -> list[str]:
    shown = subprocess.check_output(("tc", "qdisc", "show", "dev", "eth1"), text=True)
    return [line for line in shown.splitlines() if "clsact" in line]


@pytest.mark.parametrize("shared", [False, True])
def test_before_tcx_there_is_clsact(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    namespace.ip(*LINKS)

    def refuse(*_: object) -> int:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(libbpf, "attach", refuse)

    async def body() -> None:
        for _ in range(2):
            await receiver.receive(BUNDLE, wanted())
            assert await receiver.observe(BUNDLE) == wanted()
            assert len(clsact()) == 1
        if shared:
            with Program(pins.of(BUNDLE, pins.RECEIVER)) as running:
                ifindex = socket.if_nametoindex("eth1")
                libbpf.attach_classic(running["receive"], ifindex, libbpf.BPF_TC_EGRESS)
        await receiver.remove(BUNDLE)
        assert await receiver.observe(BUNDLE) is None
        assert len(clsact()) == int(shared)

    namespace.run(body)


def test_a_flow_keeps_a_verdict_for_each_slave(namespace: Namespace) -> None:
    """Else each of its packets, which arrive in turn, would be judged anew."""
    names = ("eth1", "eth2")
    namespace.ip(
        *LINKS,
        "link add eth2 type veth peer name far2",
        *(f"link set {name} address 02:00:00:00:00:01 up" for name in names),
    )

    async def body() -> None:
        first = wanted().slaves[0]
        slaves = tuple(
            replace(first, ifindex=socket.if_nametoindex(name), name=name) for name in names
        )
        await receiver.receive(BUNDLE, replace(wanted(), slaves=slaves))
        with Program(pins.of(BUNDLE, pins.RECEIVER)) as running:
            for slave in slaves:
                libbpf.run(running["receive"], libbpf.SkBuff(ifindex=slave.ifindex), FRAME)
            lanes = libbpf.lookup_each_cpu(running["lanes"], layout.Lane)
            kept = sorted(
                verdict.ifindex for lane in lanes for verdict in lane.verdict if verdict.epoch
            )
        await receiver.remove(BUNDLE)
        assert kept == sorted(slave.ifindex for slave in slaves)

    namespace.run(body)


def test_more_than_the_maps_take_is_refused_before_anything_is_written(
    namespace: Namespace,
) -> None:
    namespace.ip(*LINKS)
    many = tuple(ip_network((0x0B000000 + (number << 8), 24)) for number in range(5000))

    async def body() -> None:
        too_much = replace(wanted(), routed=many)
        with pytest.raises(OSError, match="5000 networks") as refused:
            await receiver.receive(BUNDLE, too_much)
        assert refused.value.errno == errno.E2BIG
        assert not pins.directory().exists()
        await receiver.receive(BUNDLE, wanted())
        with pytest.raises(OSError, match="too many"):
            await receiver.receive(BUNDLE, too_much)
        assert await receiver.observe(BUNDLE) == wanted()
        many_that_fit = replace(wanted(), routed=many[:2000])
        await receiver.receive(BUNDLE, many_that_fit)
        assert await receiver.observe(BUNDLE) == many_that_fit
        await receiver.remove(BUNDLE)

    namespace.run(body)


def test_a_slave_that_is_gone_keeps_no_other_from_joining(namespace: Namespace) -> None:
    namespace.ip(*LINKS)

    async def body() -> None:
        (slave,) = wanted().slaves
        here = replace(slave, groups=True)
        gone = [replace(here, ifindex=ifindex) for ifindex in range(1000, 1020)]
        address = IPv6Address("fd00:9::1")
        told = replace(wanted(), slaves=(*gone[:10], here, *gone[10:]), addresses=(address,))
        await groups.change(None, told)
        assert await groups.are_joined(frozenset({(here.ifindex, address)}))
        await groups.change(told, None)
        assert not await groups.are_joined(frozenset({(here.ifindex, address)}))

    namespace.run(body)
