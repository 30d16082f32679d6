"""The lab is what the other tests stand on: its links must be exact, and it must leave nothing."""

import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ipeql.backends.ebpf import pins
from lab.network import netns, trace
from lab.network.emulator import (
    ETH_P_ALL,
    PACKET_IGNORE_OUTGOING,
    PACKET_VNET_HDR,
    SOL_PACKET,
)
from lab.network.host import IFF_RUNNING, Host
from lab.network.hosts import Lab
from lab.network.shaper import Shape
from lab.network.trace import TRACES
from lab.network.traffic import UdpStream, measure_tcp

pytestmark = pytest.mark.netns

MS = 10**6
MBIT = 10**6
UDP_SEGMENT = 103
PAYLOAD = 1448 / 1514
"""TCP payload (timestamps on) of a full Ethernet frame, as the emulator counts frames."""


def reached(lab: Lab, destination: str, source: str = "") -> bool:
    stream = UdpStream(lab, destination, rate=100, source=source)
    return stream.finish().received > 0


def wait_for(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 5
    while not (fulfilled := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return fulfilled


@pytest.mark.parametrize("shape", [None, Shape(rate=100 * MBIT, delay=MS)], ids=["plain", "shaped"])
def test_hosts_reach_each_other_over_every_link(shape: Shape | None) -> None:
    with Lab([shape, shape], names=["eth1", "wwan0"]) as lab:
        for link in ("eth1", "wwan0"):
            for version in (4, 6):
                assert reached(lab, str(lab.address(lab.b, link, version).ip))


def test_a_plain_receiver_answers_the_address_of_a_bundle() -> None:
    with Lab([None, None]) as lab:
        lab.plain_receiver(back="eth2")
        for version, to, source in (
            (4, "10.9.0.2/32", "10.9.0.1"),
            (6, "fd00:9::2/128", "fd00:9::1"),
        ):
            lab.a.run("ip", "address", "add", source, "dev", "lo")
            lab.a.add_route("eth1", to, via=str(lab.address(lab.b, "eth1", version).ip))
            result = measure_tcp(lab, to.partition("/")[0], seconds=0.3, warmup=0, source=source)
            assert result.goodput > 0


def test_labs_do_not_disturb_each_other() -> None:
    with Lab([None]) as one:
        with Lab([None]) as two:
            assert len({host.netns for lab in (one, two) for host in (lab.a, lab.b)}) == 4
            two.set_carrier(two.a, "eth1", False)
            assert reached(one, "10.77.1.2")
        assert reached(one, "10.77.1.2")


# --- what happens to a link


def flags(host: Host, link: str) -> int:
    index = host.index(link)
    return int(host.netlink(lambda ipr: ipr.link("get", index=index)[0]["flags"]))


def test_carrier_is_taken_from_one_host_alone_where_the_link_is_emulated() -> None:
    with Lab([Shape(rate=100 * MBIT)]) as lab:
        lab.set_carrier(lab.a, "eth1", False)
        assert not flags(lab.a, "eth1") & IFF_RUNNING
        assert flags(lab.b, "eth1") & IFF_RUNNING
        lab.set_carrier(lab.a, "eth1", True)
        assert reached(lab, "10.77.1.2")


def test_a_link_set_down_and_up_keeps_its_addresses() -> None:
    with Lab([None]) as lab:
        lab.a.set_up("eth1", False)
        lab.a.wait_running("eth1", False)
        lab.a.set_up("eth1")
        lab.a.wait_running("eth1")
        assert reached(lab, "10.77.1.2")
        assert reached(lab, "fd77:1::2")


@pytest.mark.parametrize("shape", [None, Shape(rate=100 * MBIT)], ids=["plain", "shaped"])
def test_a_link_that_comes_back_has_a_new_index(shape: Shape | None) -> None:
    with Lab([shape]) as lab:
        before = lab.a.index("eth1")
        lab.delete_link("eth1")
        for host in (lab.a, lab.b):
            with pytest.raises(LookupError):
                host.index("eth1")
        lab.create_link("eth1")
        assert lab.a.index("eth1") != before
        assert reached(lab, "10.77.1.2")


# --- emulated links are exact


def test_one_tcp_flow_gets_the_rate() -> None:
    """A busy machine takes from an attempt, and gives to none: the best of three is compared."""
    expected = pytest.approx(20 * MBIT * PAYLOAD, rel=0.01)
    with Lab([Shape(rate=20 * MBIT, delay=5 * MS, queue=10 * MS)]) as lab:
        attempts: list[float] = []
        while len(attempts) < 3 and (not attempts or max(attempts) != expected):
            attempts.append(measure_tcp(lab, "10.77.1.2", seconds=5, warmup=1).goodput)
        assert max(attempts) == expected


def test_the_delay_is_exact_and_changes_live() -> None:
    with Lab([Shape(rate=100 * MBIT, delay=20 * MS)]) as lab:
        for delay in (20 * MS, 5 * MS):
            lab.shape("eth1", delay=delay)
            stream = UdpStream(lab, "10.77.1.2", rate=500)
            time.sleep(0.5)
            assert delay <= stream.finish().delay < delay + MS


def test_the_queue_bounds_the_delay_and_drops_the_rest() -> None:
    """1000 frames of 1014 bytes a second are 8.1 Mbit/s: twice what the link carries."""
    with Lab([Shape(rate=4 * MBIT, delay=5 * MS, queue=50 * MS)]) as lab:
        stream = UdpStream(lab, "10.77.1.2", rate=1000, size=1014 - 14 - 20 - 8)
        time.sleep(1)
        result = stream.finish()
        there, _ = lab.shape("eth1")
        full = (5 + 50) * MS  # a busy machine adds to some; most tell what the queue does
        assert 50 * MS < sorted(result.delays)[len(result.delays) * 3 // 4] < full + 10 * MS
        assert result.lost == pytest.approx(there["dropped"], abs=5)  # neighbours chatter too
        assert result.lost > result.sent // 3
        assert not result.extents


def test_loss_is_random_and_a_path_can_be_dead_behind_a_live_carrier() -> None:
    with Lab([Shape(loss=0.2)]) as lab:
        lab.shape("eth1", loss=0)
        stream = UdpStream(lab, "10.77.1.2")
        lab.shape("eth1", loss=0.2)
        time.sleep(1)
        lab.shape("eth1", loss=1)
        assert flags(lab.a, "eth1") & IFF_RUNNING
        time.sleep(0.3)
        result = stream.finish()
        assert result.longest_gap > 250 * MS
        assert 0.1 < (result.lost - 300) / (result.sent - 300) < 0.3


def test_a_link_is_silent_in_one_direction_and_nobody_is_told() -> None:
    with Lab([Shape()]) as lab:
        stream = UdpStream(lab, "10.77.1.2")
        time.sleep(0.2)  # the neighbour is known
        lab.shape("eth1", silent=True, towards=lab.b)
        time.sleep(0.2)
        there, back = lab.shape("eth1", silent=False, towards=lab.b)
        time.sleep(0.2)
        result = stream.finish()
        assert flags(lab.a, "eth1") & IFF_RUNNING
        assert 50 < there["lost"] == pytest.approx(result.lost, abs=5)  # neighbours chatter too
        assert not back["lost"]
        assert 0 < result.received < result.sent


def test_a_recorded_link_carries_what_it_did() -> None:
    """Twice what it can; 80 ms of queue at 13 Mbit/s, and ten of its own delay."""
    file, delays = str(TRACES / "starlink.up"), str(TRACES / "starlink.owd.csv")
    shape = Shape(delay=5 * MS, queue=80 * MS, trace=file, delays=delays)
    with Lab([shape]) as lab:
        lab.shape("eth1", begin=time.monotonic_ns())
        stream = UdpStream(lab, "10.77.1.2", rate=2400, size=1400)
        time.sleep(2)
        result = stream.finish()
        brought = result.received * 1428 * 8 * 2400 / result.sent
        # A busy machine sends in bursts, which fill the queue.
        assert 0 < brought < 1.25 * trace.trace(file).rate
        assert min(result.delays) > 13 * MS
        assert max(result.delays) > 60 * MS


# --- only single wire frames get to the emulator


def sniffer(host: Host) -> socket.socket:
    def make() -> socket.socket:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        sock.bind(("eth1", ETH_P_ALL))
        sock.settimeout(2)
        return sock

    return host.call(make)


def sizes_until(sock: socket.socket, payload: int, header: int) -> list[int]:
    """Read frames longer than 500 bytes until they have brought ``payload`` bytes."""
    sizes: list[int] = []
    while sum(size - header for size in sizes) < payload:
        size = len(sock.recv(65536))
        if size > 500:
            sizes.append(size)
    return sizes


def test_a_tcp_train_leaves_as_wire_frames() -> None:
    with Lab([Shape(rate=100 * MBIT)]) as lab, sniffer(lab.b) as frames:
        measure_tcp(lab, "10.77.1.2", seconds=0.3, warmup=0)
        assert max(sizes_until(frames, 100_000, header=66)) == 1514


def test_a_udp_train_leaves_as_wire_frames() -> None:
    with Lab([Shape(rate=100 * MBIT)]) as lab, sniffer(lab.b) as frames:

        def send() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
                sock.sendto(bytes(10_000), ("10.77.1.2", 9))

        lab.a.call(send)
        assert sizes_until(frames, 10_000, header=42) == [1042] * 10


def test_a_train_from_a_packet_socket_leaves_as_wire_frames() -> None:
    """As the TUN dataplane sends them: Ethernet, IPv4 and TCP behind a virtio-net header."""
    payload = 40 * 1448
    ip_header = struct.pack(
        "!BBHHHBBH4s4s",
        0x45,
        0,
        52 + payload,
        1,
        0,
        64,
        socket.IPPROTO_TCP,
        0,
        socket.inet_aton("10.77.1.1"),
        socket.inet_aton("10.77.1.2"),
    )
    tcp_header = struct.pack("!HHIIBBHHH12x", 9, 9, 1, 1, 8 << 4, 0x10, 65535, 0, 0)
    vnet_header = struct.pack("=BBHHHH", 1, 1, 66, 1448, 34, 16)
    with Lab([Shape(rate=100 * MBIT)]) as lab, sniffer(lab.b) as frames:

        def send() -> None:
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
                sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
                sock.bind(("eth1", 0x0800))
                ethernet = b"\xff" * 6 + sock.getsockname()[4] + b"\x08\x00"
                sock.send(vnet_header + ethernet + ip_header + tcp_header + bytes(payload))

        lab.a.call(send)
        assert sizes_until(frames, payload, header=66) == [1514] * 40


# --- nothing is left behind


HOLD = """
import sys, time
from lab.network.hosts import Lab
from lab.network.shaper import Shape
with Lab([Shape(rate=1000000)]) as lab:
    print(lab.a.netns, lab.b.netns, lab.middle.netns, flush=True)
    print(lab.a.popen("sleep", "60").pid, flush=True)
    time.sleep(60)
"""


def runs(pid: str) -> bool:
    try:
        return bool(Path("/proc", pid, "cmdline").read_bytes())
    except OSError:
        return False


def test_an_exception_leaves_nothing() -> None:
    names: list[str] = []
    inside: list[int] = []
    with pytest.raises(ZeroDivisionError), Lab([Shape(rate=MBIT)]) as lab:
        names = [lab.a.netns, lab.b.netns, lab.middle.netns]
        process = lab.a.popen("sh", "-c", "sleep 60 & wait", stdout=subprocess.PIPE)
        assert wait_for(lambda: len(netns.pids(lab.a.netns)) == 2)
        inside = netns.pids(lab.a.netns)
        raise ZeroDivisionError
    assert process.poll() is not None
    assert wait_for(lambda: not any(runs(str(pid)) for pid in inside))
    assert not set(names) & set(netns.names())


@pytest.fixture
def holder() -> Iterator[subprocess.Popen[str]]:
    """A process that holds a lab for a minute."""
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        yield process
        process.kill()
    Lab.sweep()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_leaves_nothing_but_what_sweep_removes(
    holder: subprocess.Popen[str], number: signal.Signals
) -> None:
    assert holder.stdout
    names = holder.stdout.readline().split()
    assert len(names) == 3
    child = holder.stdout.readline().strip()
    assert wait_for(lambda: runs(child))
    holder.send_signal(number)
    holder.wait(10)
    if number == signal.SIGKILL:
        assert set(names) <= set(netns.names())
        Lab.sweep()
    assert not set(names) & set(netns.names())
    assert wait_for(lambda: not runs(child))


def test_sweep_removes_what_a_killed_lab_had_pinned(holder: subprocess.Popen[str]) -> None:
    assert holder.stdout
    name, *_ = holder.stdout.readline().split()
    made = netns.inside(name, lambda: pins.beside("ipeql0"))
    holder.kill()
    holder.wait(10)
    assert made.is_dir()
    Lab.sweep()
    assert not made.parent.exists()
