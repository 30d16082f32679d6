"""Datagrams lost when the first of two links fails, at 1000 a second."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from bench.bundle import candidate_over
from bench.candidates import Candidate
from bench.host import Host
from bench.report.results import Row, attempt
from bench.site import RECEIVER, Site, inside, pairs, prepare, receiver, send

ROUNDS = 3
BEFORE, AFTER = 1500, 3500
"""Datagrams sent before the link fails, and after."""
SETTLE_S = 3
PORT = 10
BUFFER_BYTES = 16 << 20
SO_RCVBUFFORCE = 33


def _down(site: Site) -> None:
    site.a.ip(f"link set {site.links[0]} down")


def _carrier_lost(site: Site) -> None:
    assert site.b
    site.b.ip(f"link set {site.links[0]} down")


def _silent(site: Site) -> None:
    """Have both ends of the link drop what comes in and goes out, and keep the carrier.

    Packet sockets see what comes in before it is dropped, and what teql sends is not dropped: so
    both. The qdisc is there where IPEQL receives.
    """
    link = site.links[0]
    for host, _ in site.ends:
        if "clsact" not in host.run("tc", "qdisc", "show", "dev", link):
            host.tc(f"qdisc add dev {link} clsact")
        host.tc(
            *(
                f"filter add dev {link} {way} pref 1 protocol all matchall action drop"
                for way in ("egress", "ingress")
            )
        )


CASES: dict[str, Callable[[Site], None]] = {
    "set down": _down,
    "carrier lost": _carrier_lost,
    "silent": _silent,
}
"""What becomes of the link, as the sender sees it."""


def measure(candidates: Sequence[Candidate], tools: Path) -> Iterator[Row]:
    """Yield a row for every candidate and case: how many datagrams were lost."""
    a = Host()
    prepare(a)
    with receiver("b") as b:
        for candidate in candidates:
            for case, kill in CASES.items():
                once = partial(_lost, a, b, candidate, kill, tools)
                yield attempt(case, candidate.name, partial(_repeated, once))


def _repeated(measure: Callable[[], int]) -> list[float]:
    return [measure() for _ in range(ROUNDS)]


def _lost(a: Host, b: Host, candidate: Candidate, kill: Callable[[Site], None], tools: Path) -> int:
    with (
        pairs(a, b, candidate.slaves) as site,
        candidate_over(site, candidate, tools),
        inside(b, _receiver) as far,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near,
    ):
        near.connect((RECEIVER, PORT))
        time.sleep(SETTLE_S)  # bonding's miimon and the neighbours settle
        send(near, BEFORE)
        killer = threading.Thread(target=kill, args=(site,))
        killer.start()
        send(near, AFTER)
        killer.join()
        time.sleep(1)
        return BEFORE + AFTER - _received(far)


def _receiver() -> socket.socket:
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    found.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
    found.bind(("", PORT))
    return found


def _received(sock: socket.socket) -> int:
    """Return how many datagrams lie in the socket, and take them."""
    count = 0
    sock.setblocking(False)
    while True:
        try:
            sock.recv(65536)
        except BlockingIOError:
            return count
        count += 1
