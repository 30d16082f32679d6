"""Links with a rate, a queue and a delay, by the kernel's own means."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench.host import Host
from bench.site import Site, addresses, names
from ipeql.lab.scenarios import Path

MIDDLE = "middle"
BURST_BYTES = 6000
QUEUE_BYTES = 150_000


@contextmanager
def shaped(a: Host, b: Host, paths: Sequence[Path]) -> Iterator[Site]:
    """Join two hosts by links as behind a modem: a rate, a queue of 150 kB, a delay, both ways.

    The rate's limit lies in a namespace between the hosts, which see no back-pressure. They segment
    in software, so that every packet of the wire is striped by itself.
    """
    links = names(len(paths))
    middle = Host(MIDDLE)
    a.ip(f"netns add {MIDDLE}")
    try:
        for number, (link, path) in enumerate(zip(links, paths, strict=True), start=1):
            left, right, inner, outer = (f"{end}{number}" for end in "abio")
            a.ip(f"link add {link} type veth peer name {left} netns {MIDDLE}")
            b.ip(f"link add {link} type veth peer name {right} netns {MIDDLE}")
            middle.ip(
                f"link add {inner} type veth peer name {outer}",
                *(f"link set {end} up" for end in (left, right, inner, outer)),
            )
            middle.tc(*_pass(left, inner), *_pass(outer, right), *_limit(inner, path.rate))
            middle.tc(*_pass(right, outer), *_pass(inner, left), *_limit(outer, path.rate))
            if path.delay:
                middle.tc(*_delay(left, path.delay), *_delay(right, path.delay))
            for host in (a, b):
                host.run("ethtool", "-K", link, "tso", "off", "gso", "off", "gro", "off")
        a.ip(*addresses(links, 1))
        b.ip(*addresses(links, 2))
        yield Site(a, b, links, paths)
    finally:
        for host in (a, b):
            host.forget(links)
        a.ip(f"netns delete {MIDDLE}")


def _pass(source: str, destination: str) -> Iterator[str]:
    """Hand what comes in at ``source`` on to ``destination``."""
    yield f"qdisc add dev {source} clsact"
    action = f"action mirred egress redirect dev {destination}"
    yield f"filter add dev {source} ingress protocol all matchall {action}"


def _limit(device: str, rate: int) -> Iterator[str]:
    limits = f"rate {rate}bit burst {BURST_BYTES} limit {QUEUE_BYTES}"
    yield f"qdisc add dev {device} root tbf {limits}"


def _delay(device: str, delay: int) -> Iterator[str]:
    yield f"qdisc add dev {device} root netem delay {delay // 1000}us limit 10000"
