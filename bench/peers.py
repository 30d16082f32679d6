"""What else Linux has, each set up as its own documentation recommends.

Every function is a context: inside, what is sent to ``site.RECEIVER`` goes over the site's links.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

from bench.host import Host
from bench.site import RECEIVER, SENDER, Site
from lab.network.eql import enslave

STRANGER = "02:00:00:00:00:02"
"""The link address of a receiver that is not there."""

_TEAM_MODE = ("teamnl", "team0", "setoption", "mode", "roundrobin")


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
    with _masters(site, "bond0", make, make):
        yield


@contextmanager
def bonding_arp(site: Site) -> Iterator[None]:
    """Have balance-rr that asks the far end by ARP every 100 ms, over every slave."""
    make = "link add bond0 type bond mode balance-rr arp_interval 100 arp_ip_target"
    with _masters(site, "bond0", f"{make} {RECEIVER}", f"{make} {SENDER}"):
        yield


@contextmanager
def bonding_xor(site: Site) -> Iterator[None]:
    """Have balance-xor by addresses and ports with miimon at both ends."""
    make = "link add bond0 type bond mode balance-xor xmit_hash_policy layer3+4 miimon 100"
    with _masters(site, "bond0", make, make):
        yield


@contextmanager
def team(site: Site) -> Iterator[None]:
    """Have mode roundrobin at both ends, as teamd.conf(5) calls it, without a teamd."""
    make = "link add team0 type team"
    with _masters(site, "team0", make, make, _TEAM_MODE):
        yield


@contextmanager
def _masters(
    site: Site, master: str, near: str, far: str, option: Sequence[str] = ()
) -> Iterator[None]:
    """Make ``master`` at both ends, by ``near`` and ``far``, and give it the links."""
    with _deleted(site, master):
        for (host, address), make in zip(site.ends, (near, far), strict=False):
            host.ip(make)
            if option:
                host.run(*option)
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
    """Have one route over all links, by flow and speed (net.ipv4.fib_multipath_hash_policy 1)."""
    slowest = min(site.rates)
    hops = [
        f"nexthop via 10.77.{number}.2 dev {link} weight {round(rate / slowest)}"
        for number, (link, rate) in enumerate(zip(site.links, site.rates, strict=True), start=1)
    ]
    route = f"route replace {RECEIVER} src {SENDER} " + " ".join(hops)
    with _loopback(site.a, SENDER):
        site.a.run("sysctl", "-q", "-w", "net.ipv4.fib_multipath_hash_policy=1")
        site.a.ip(route)
        with plain_end(site):
            yield


@contextmanager
def mptcp(site: Site) -> Iterator[None]:
    """Have a subflow over every link: the receiver tells of its other addresses (ip-mptcp(8)).

    Only what is run by ``mptcpize run`` uses it.
    """
    further = [
        f"mptcp endpoint add 10.77.{number}.2 dev {link} signal"
        for number, link in enumerate(site.links[1:], start=2)
    ]
    limits = f"mptcp limits set subflow {len(further)} add_addr_accepted {len(further)}"
    with plain(site):
        for host, _ in site.ends:
            host.ip(limits)
        if site.b:
            site.b.ip(*further)
        try:
            yield
        finally:
            for host, _ in site.ends:
                host.ip("mptcp endpoint flush")


@contextmanager
def eql(site: Site) -> Iterator[None]:
    """Use the driver eql, a slave's speed as its priority (Documentation/networking/eql.rst).

    It sends no link header: over Ethernet its slaves are ipip tunnels. It works in the first
    network namespace alone.
    """
    site.a.run("modprobe", "eql")
    with _tunnels(site) as slaves, plain_end(site):
        try:
            site.a.ip(
                "link set eql mtu 1480",
                "link set eql up",
                f"address add {SENDER}/32 peer {RECEIVER} dev eql",
            )
            for slave, rate in zip(slaves, site.rates, strict=True):
                enslave(slave, rate)
            yield
        finally:
            site.a.ip("link set eql down")
            site.a.run("rmmod", "eql")


@contextmanager
def ipip(site: Site) -> Iterator[None]:
    """Use one of the tunnels that eql is given; LookupError where they would lead nowhere."""
    if site.b is None:
        raise LookupError("a tunnel needs another end")
    with _tunnels(replace(site, links=site.links[:1])) as names, plain_end(site):
        site.a.ip(f"address add {SENDER}/32 peer {RECEIVER} dev {names[0]}")
        yield


@contextmanager
def _tunnels(site: Site) -> Iterator[Sequence[str]]:
    """Have an ipip tunnel over every link, where the links have an other end."""
    if site.b is None:
        yield site.links
        return
    names = [f"tunnel{number}" for number in range(1, len(site.links) + 1)]
    with site.a.links(*names), site.b.links(*names):
        for host, here, there in ((site.a, 1, 2), (site.b, 2, 1)):
            for number, name in enumerate(names, start=1):
                ends = f"local 10.77.{number}.{here} remote 10.77.{number}.{there}"
                host.ip(f"link add {name} type ipip {ends}", f"link set {name} up")
        yield names


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
    "bonding-arp": bonding_arp,
    "bonding-xor": bonding_xor,
    "team": team,
    "teql": teql,
    "ecmp": ecmp,
    "mptcp": mptcp,
    "eql": eql,
    "ipip": ipip,
}
"""How each kind is set up."""
