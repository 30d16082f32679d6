"""Links with a rate, a queue and a delay, by the kernel's own means."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench.host import Host
from bench.site import Site, addresses, names
from lab.demo.scenarios import Path

MIDDLE = "middle"
FRAME = 1514
"""Bytes of a full packet on Ethernet."""

BUCKET = "tbf rate {rate}bit burst 6000 limit 150000"
"""A token bucket, as providers have it: bytes. Four packets pass a link that was idle at once."""

TAIL = "netem rate {rate}bit limit {packets}"
"""A line whose queue is as long at any rate: as many full packets as pass in 100 ms.

After netem a packet is not its sender's any more; TCP sends less than fills a token bucket's queue.
"""

LINE = "netem rate {rate}bit limit 100"
"""A line, as a modem or a radio is: every packet takes its time. Packets, 150 kB when full."""


@contextmanager
def shaped(a: Host, b: Host, paths: Sequence[Path], rate: str) -> Iterator[Site]:
    """Join two hosts by links as behind a modem: a rate, a queue of 150 kB, a delay, both ways.

    ``rate`` is BUCKET, TAIL or LINE, or another queueing discipline, or empty: no limit. It lies in
    a namespace between the hosts, which see no back-pressure. They segment in software, so that
    every packet of the wire is striped by itself.
    """
    links = names(len(paths))
    middle = Host(MIDDLE)
    a.ip(f"netns add {MIDDLE}")
    try:
        a.ip(*(f"link add {link} type veth peer name a{link} netns {MIDDLE}" for link in links))
        b.ip(*(f"link add {link} type veth peer name b{link} netns {MIDDLE}" for link in links))
        middle.ip(*itertools.chain(*map(_inner_pair, links)))
        middle.tc(*itertools.chain(*map(_both_ways, links, paths, itertools.repeat(rate))))
        for host, link in itertools.product((a, b), links):
            host.run("ethtool", "-K", link, "tso", "off", "gso", "off", "gro", "off")
        a.ip(*addresses(links, 1))
        b.ip(*addresses(links, 2))
        yield Site(a, b, links, paths)
    finally:
        for host in (a, b):
            host.forget(links)
        a.ip(f"netns delete {MIDDLE}")


def _inner_pair(link: str) -> Iterator[str]:
    """Join the two ends of a link by one more pair, where the queues are."""
    yield f"link add i{link} type veth peer name o{link}"
    for end in "abio":
        yield f"link set {end}{link} up"


def _both_ways(link: str, path: Path, rate: str) -> Iterator[str]:
    near, far, inner, outer = (f"{end}{link}" for end in "abio")
    for enters, queue, out, leaves in ((near, inner, outer, far), (far, outer, inner, near)):
        yield from _pass(enters, queue)
        if rate:
            packets = path.rate // (10 * 8 * FRAME)
            yield f"qdisc add dev {queue} root {rate.format(rate=path.rate, packets=packets)}"
        yield from _pass(out, leaves)
        if path.delay:
            yield f"qdisc add dev {leaves} root netem delay {path.delay // 1000}us limit 10000"


def _pass(source: str, destination: str) -> Iterator[str]:
    """Hand what comes in at ``source`` on to ``destination``."""
    yield f"qdisc add dev {source} clsact"
    action = f"action mirred egress redirect dev {destination}"
    yield f"filter add dev {source} ingress protocol all matchall {action}"
