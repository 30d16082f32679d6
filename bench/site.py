"""Two hosts and the links between them, as the candidates find them."""

import ctypes
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.host import Host

SENDER = "10.9.0.1"
RECEIVER = "10.9.0.2"
PORT = 9

_FORWARDING = ("net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
_QUIET = ("net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
_CLONE_NEWNET = 0x40000000


@dataclass(frozen=True, slots=True)
class Site:
    """Host ``a`` sends to host ``b`` over ``links``, called alike in both.

    Link n has 10.77.n.1/24 in a and 10.77.n.2/24 in b. ``b`` None: what is sent over the links
    ends there.
    """

    a: Host
    b: Host | None
    links: Sequence[str]

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
        with _unread_socket(namespace):
            yield host
    finally:
        Host().ip(f"netns delete {namespace}")


def prepare(host: Host) -> None:
    """Set what every host of a measurement has alike."""
    host.ip("link set lo up")
    host.run("sysctl", "-q", "-w", *_FORWARDING, *_QUIET)


def _unread_socket(namespace: str) -> socket.socket:
    found: list[socket.socket] = []

    def bind() -> None:  # the thread ends inside the namespace, the others stay where they are
        handle = os.open(Path("/run/netns", namespace), os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(handle, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(handle)
        found.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        found[0].bind(("", PORT))

    thread = threading.Thread(target=bind)
    thread.start()
    thread.join()
    if not found:
        raise RuntimeError(f"no socket in {namespace}")
    return found[0]


@contextmanager
def dead_ends(a: Host, count: int) -> Iterator[Site]:
    """Join ``count`` dummy links to a host: what is sent over them is sent and no more."""
    links = _names(count)
    with a.links(*links):
        a.ip(*(f"link add {link} type dummy" for link in links), *_addresses(links, 1))
        yield Site(a, None, links)


@contextmanager
def pairs(a: Host, b: Host, count: int) -> Iterator[Site]:
    """Join two hosts by ``count`` veth pairs."""
    links = _names(count)
    with a.links(*links):
        a.ip(
            *(f"link add {link} type veth peer name {link} netns {b.namespace}" for link in links),
            *_addresses(links, 1),
        )
        b.ip(*_addresses(links, 2))
        yield Site(a, b, links)


def _names(count: int) -> list[str]:
    return [f"eth{number}" for number in range(1, count + 1)]


def _addresses(links: Sequence[str], last: int) -> Iterator[str]:
    for number, link in enumerate(links, start=1):
        yield f"address add 10.77.{number}.{last}/24 dev {link}"
        yield f"link set {link} up"
