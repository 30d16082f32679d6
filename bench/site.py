"""Two hosts and the links between them, as the candidates find them."""

import contextlib
import ctypes
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench.host import Host
from lab.demo.scenarios import Path as LinkPath

T = TypeVar("T")

SENDER = "10.9.0.1"
RECEIVER = "10.9.0.2"
PORT = 9

FAST = LinkPath(10**9, 0)
"""What is said of links that nothing shapes."""

INTERVAL_NS = 10**6
"""Between two datagrams."""

_FORWARDING = ("net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
_QUIET = ("net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
_CLONE_NEWNET = 0x40000000


@dataclass(frozen=True, slots=True)
class Site:
    """Host ``a`` sends to host ``b`` over links called alike in both, with ``paths`` behind them.

    Link n has 10.77.n.1/24 in a and 10.77.n.2/24 in b. ``b`` None: what is sent over the links
    ends there.
    """

    a: Host
    b: Host | None
    links: Sequence[str]
    paths: Sequence[LinkPath]

    @property
    def rates(self) -> list[int]:
        """Return the rate of every link, bit/s."""
        return [path.rate for path in self.paths]

    @property
    def ends(self) -> Iterator[tuple[Host, str]]:
        """Return each host with the address a bundle of it has."""
        yield self.a, SENDER
        if self.b:
            yield self.b, RECEIVER


@contextmanager
def receiver(namespace: str) -> Iterator[Host]:
    """Have the network namespace ``namespace`` with a socket on ``PORT`` that nobody reads."""
    host = Host(namespace)
    Host().ip(f"netns add {namespace}")
    try:
        prepare(host)
        with inside(host, _unread_socket):
            yield host
    finally:
        Host().ip(f"netns delete {namespace}")


def prepare(host: Host) -> None:
    """Set what every host of a measurement has alike."""
    host.ip("link set lo up")
    host.run("sysctl", "-q", "-w", *_FORWARDING, *_QUIET)


def _unread_socket() -> socket.socket:
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    found.bind(("", PORT))
    return found


def inside(host: Host, function: Callable[[], T]) -> T:
    """Return ``function()`` as run in the namespace of ``host``, by a thread that ends there."""
    results: list[T] = []

    def body() -> None:
        with Path("/run/netns", host.namespace).open() as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        results.append(function())

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if not results:
        raise RuntimeError(f"nothing came of what was to be done in {host.namespace}")
    return results[0]


def send(sock: socket.socket, datagrams: int) -> None:
    """Send datagrams of 200 bytes, 1000 a second, whatever becomes of them."""
    due = time.monotonic_ns()
    for _ in range(datagrams):
        time.sleep(max(0, due - time.monotonic_ns()) / 1e9)
        due += INTERVAL_NS
        with contextlib.suppress(OSError):  # no route, no buffer: lost as well
            sock.send(bytes(200))


@contextmanager
def dead_ends(a: Host, count: int) -> Iterator[Site]:
    """Join ``count`` dummy links to a host: what is sent over them is sent and no more."""
    links = names(count)
    with a.links(*links):
        a.ip(*(f"link add {link} type dummy" for link in links), *addresses(links, 1))
        yield Site(a, None, links, [FAST] * count)


@contextmanager
def pairs(a: Host, b: Host, count: int) -> Iterator[Site]:
    """Join two hosts by ``count`` veth pairs."""
    links = names(count)
    with a.links(*links):
        a.ip(
            *(f"link add {link} type veth peer name {link} netns {b.namespace}" for link in links),
            *addresses(links, 1),
        )
        b.ip(*addresses(links, 2))
        yield Site(a, b, links, [FAST] * count)


def names(count: int) -> list[str]:
    """Return what ``count`` links are called."""
    return [f"eth{number}" for number in range(1, count + 1)]


def addresses(links: Sequence[str], last: int) -> Iterator[str]:
    """Yield what gives a host its addresses on the links and sets them up."""
    for number, link in enumerate(links, start=1):
        yield f"address add 10.77.{number}.{last}/24 dev {link}"
        yield f"link set {link} up"
