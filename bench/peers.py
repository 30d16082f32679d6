"""What else Linux has, each set up as its own documentation recommends.

Every function is a context: inside, what is sent to ``site.RECEIVER`` goes over the site's links.
"""

import fcntl
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from ctypes import addressof, create_string_buffer

from bench.host import Host
from bench.site import RECEIVER, SENDER, Site

STRANGER = "02:00:00:00:00:02"
"""The link address of a receiver that is not there."""

_EQL_ENSLAVE = 0x89F0
"""SIOCDEVPRIVATE; include/uapi/linux/if_eql.h."""


@contextmanager
def plain(site: Site) -> Iterator[None]:
    """Use the first link alone."""
    for host, address in site.ends:
        host.ip(f"address add {address}/24 dev {site.links[0]}")
    yield


@contextmanager
def bonding(site: Site) -> Iterator[None]:
    """Have balance-rr with miimon at both ends (Documentation/networking/bonding.rst)."""
    make = "link add bond0 type bond mode balance-rr miimon 100"
    with _masters(site, "bond0", make):
        yield


@contextmanager
def team(site: Site) -> Iterator[None]:
    """Have mode roundrobin at both ends, as teamd.conf(5) calls it, without a teamd."""
    with _masters(site, "team0", "link add team0 type team", ("teamnl", "team0", "setoption")):
        yield


@contextmanager
def _masters(site: Site, master: str, make: str, option: tuple[str, ...] = ()) -> Iterator[None]:
    with _deleted(site, master):
        for host, address in site.ends:
            host.ip(make)
            if option:
                host.run(*option, "mode", "roundrobin")
            host.ip(
                *(f"address flush dev {link}" for link in site.links),
                *(f"link set {link} down" for link in site.links),
                *(f"link set {link} master {master}" for link in site.links),
                *(f"link set {link} up" for link in site.links),
                f"link set {master} up",
                f"address add {address}/24 dev {master}",
            )
        _know_stranger(site, master)
        yield


@contextmanager
def teql(site: Site) -> Iterator[None]:
    """Have the qdisc teql at both ends (Linux Advanced Routing HOWTO, 10)."""
    site.a.run("modprobe", "sch_teql", "max_equalizers=2")
    try:
        if site.b:
            site.a.ip(f"link set teql1 netns {site.b.namespace}")
        for (host, address), master in zip(site.ends, ("teql0", "teql1"), strict=False):
            for link in site.links:
                host.run("tc", "qdisc", "add", "dev", link, "root", master)
            host.ip(f"link set {master} up", f"address add {address}/24 dev {master}")
        yield
    finally:
        for host, _ in site.ends:
            for link in site.links:
                host.run("tc", "qdisc", "delete", "dev", link, "root")
        if site.b:
            site.b.ip("link set teql1 netns 1")
        site.a.run("rmmod", "sch_teql")


@contextmanager
def ecmp(site: Site) -> Iterator[None]:
    """Have one route over all links, by flow (net.ipv4.fib_multipath_hash_policy 1)."""
    lines = []
    for number, link in enumerate(site.links, start=1):
        lines.append(f"nexthop via 10.77.{number}.2 dev {link}")
    route = f"route replace {RECEIVER} src {SENDER} " + " ".join(lines)
    with _loopback(site.a, SENDER):
        site.a.run("sysctl", "-q", "-w", "net.ipv4.fib_multipath_hash_policy=1")
        site.a.ip(route)
        with plain_end(site):
            yield


@contextmanager
def eql(site: Site) -> Iterator[None]:
    """Use the driver eql (Documentation/networking/eql.rst).

    It works in the first network namespace alone. LookupError over links with a link header.
    """
    if site.b:
        raise LookupError("it sends no link header, which Ethernet slaves need")
    site.a.run("modprobe", "eql")
    try:
        site.a.ip("link set eql up", f"address add {SENDER}/32 peer {RECEIVER} dev eql")
        for link in site.links:
            _enslave_eql(link, 115200)
        yield
    finally:
        site.a.ip("link set eql down")
        site.a.run("rmmod", "eql")


def _enslave_eql(link: str, bits: int) -> None:
    request = create_string_buffer(struct.pack("16sl", link.encode(), bits))
    interface = struct.pack("16sP16x", b"eql", addressof(request))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _EQL_ENSLAVE, interface)


@contextmanager
def plain_end(site: Site) -> Iterator[None]:
    """Have an ordinary receiver at the far end, which answers over the first link."""
    if site.b is None:
        yield
        return
    with _loopback(site.b, RECEIVER):
        site.b.ip(f"route replace {SENDER} via 10.77.1.1 dev {site.links[0]} src {RECEIVER}")
        yield


@contextmanager
def _loopback(host: Host, address: str) -> Iterator[None]:
    host.ip(f"address add {address}/32 dev lo")
    try:
        yield
    finally:
        host.ip(f"address delete {address}/32 dev lo")


@contextmanager
def _deleted(site: Site, master: str) -> Iterator[None]:
    with site.a.links(master):
        if site.b is None:
            yield
            return
        with site.b.links(master):
            yield


def _know_stranger(site: Site, device: str) -> None:
    if site.b is None:
        site.a.ip(f"neighbour add {RECEIVER} lladdr {STRANGER} dev {device} nud permanent")


PEERS: dict[str, Callable[[Site], AbstractContextManager[None]]] = {
    "plain": plain,
    "bonding": bonding,
    "team": team,
    "teql": teql,
    "ecmp": ecmp,
    "eql": eql,
}
"""How each kind is set up."""
