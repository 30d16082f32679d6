"""A bundle's worker process or its device comes to harm; the daemon mends it."""

import os
import random
import signal
import socket
import sys
import time
from collections.abc import Iterator

import pytest

from ipeql.backends.tun import client
from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from lab.network.traffic import SECOND
from tests.netns.bundle import USUAL, carries, traffic, usable, wait_for, worker_pid

pytestmark = pytest.mark.netns

ETH_P_ALL = 3


@pytest.fixture
def daemon(lab: Lab) -> Iterator[Ipeqld]:
    with Ipeqld(lab.a, USUAL) as daemon:
        yield daemon


def works_again(daemon: Ipeqld) -> bool:
    try:
        return len(usable(daemon)) == 2
    except (OSError, client.WorkerError):
        return False


def replaced(daemon: Ipeqld, pid: int) -> bool:
    return works_again(daemon) and worker_pid(daemon) != pid


def inject(lab: Lab, packets: list[bytes]) -> None:
    """Send ``packets`` out of the bundle's device, below all that would check them.

    Their ethertype is IPv4's, or IPv6's where the first byte says that.
    """
    kind = socket.SOCK_RAW
    with lab.a.call(lambda: socket.socket(socket.AF_PACKET, kind, 0)) as sock:
        lab.a.call(lambda: sock.bind(("ipeql0", ETH_P_ALL)))
        for packet in packets:
            ethertype = b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00"
            sock.send(bytes(12) + ethertype + packet)


def malformed(daemon: Ipeqld) -> int:
    return int(daemon.status()["bundles"][0]["dropped"].get("malformed", 0))


def test_a_killed_worker_is_replaced_within_a_second(lab: Lab, daemon: Ipeqld) -> None:
    pid = worker_pid(daemon)
    with traffic(lab, most_lost=sys.maxsize) as results:
        wait_for(carries(daemon, "eth1", "eth2"))
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: replaced(daemon, pid))
        wait_for(carries(daemon, "eth1", "eth2"))
    assert max(result.longest_gap for result in results) < SECOND
    daemon.stop()
    assert [line for line in daemon.log if "worker" in line] == [
        "ipeqld: ipeql0: the worker ended (SIGKILL); starting another"
    ]


def test_a_stuck_worker_hangs_nobody_and_is_replaced(lab: Lab, daemon: Ipeqld) -> None:
    pid = worker_pid(daemon)
    os.kill(pid, signal.SIGSTOP)
    begin = time.monotonic()
    (bundle,) = daemon.status()["bundles"]
    assert time.monotonic() - begin < 2 * client.TIMEOUT_S
    assert (bundle["state"], bundle["reason"]) == ("failed", "its dataplane is not running")
    daemon.ipeql("apply")
    assert replaced(daemon, pid)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with traffic(lab):
        wait_for(carries(daemon, "eth1", "eth2"))
    daemon.wait_log("ipeql0: replacing the worker: it does not answer")


def test_a_deleted_device_is_made_anew(lab: Lab, daemon: Ipeqld) -> None:
    pid = worker_pid(daemon)
    with traffic(lab, most_lost=sys.maxsize):
        wait_for(carries(daemon, "eth1", "eth2"))
        lab.a.delete("ipeql0")
        wait_for(lambda: replaced(daemon, pid))
        wait_for(carries(daemon, "eth1", "eth2"))
    assert daemon.status()["bundles"][0]["state"] == "ready"
    assert not [line for line in daemon.log if "Traceback" in line]


def test_malformed_packets_are_counted_and_harm_nobody(lab: Lab, daemon: Ipeqld) -> None:
    pid = worker_pid(daemon)
    wrong_version = [bytes([version << 4]) + bytes(60) for version in range(16) if version != 4]
    del wrong_version[wrong_version.index(bytes([0x60]) + bytes(60))]
    short = [bytes([0x45]) + bytes(length) for length in range(19)]
    short += [bytes([0x60]) + bytes(length) for length in range(39)]
    before = malformed(daemon)
    inject(lab, wrong_version + short)
    wait_for(lambda: malformed(daemon) == before + len(wrong_version + short))
    noise = random.Random(1998)
    with traffic(lab):
        inject(lab, [noise.randbytes(noise.randrange(1, 1500)) for _ in range(300)])
        wait_for(carries(daemon, "eth1", "eth2"))
    assert worker_pid(daemon) == pid
