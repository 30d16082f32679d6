"""Bundles under test: their configuration, and a closer look at them than the status gives."""

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ipeql.backends.tun import client
from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from lab.network.traffic import RECEIVER, UdpResult, UdpStream

RECEIVER6 = "fd00:9::2"
RECEIVERS = (RECEIVER, RECEIVER6)

ADDRESSES = 'addresses: [10.9.0.1/24, "fd00:9::1/64"]'


def slave(number: int, bandwidth: str = "100Mbit", lag: str = "1ms") -> str:
    """Return the entry of link ``eth<number>`` of a lab.

    It names an IPv6 next hop: a host answers for IPv6 addresses of the asked interface alone.
    """
    via = f'via6: "fd77:{number}::2"'
    return f"{{name: eth{number}, bandwidth: {bandwidth}, lag: {lag}, {via}}}"


def bundle(
    slaves: Sequence[str] = (slave(1), slave(2)),
    method: str = "round_robin",
    *more: str,
    name: str = "ipeql0",
    addresses: str = ADDRESSES,
    backend: str = "tun",
) -> str:
    """Return one entry of ``bundles``; ``more`` are further lines of it."""
    entries = (f"  - {each}" for each in slaves)
    lines = (f"method: {method}", addresses, *more, "slaves:", *entries, f"backend: {backend}")
    return "\n".join([f"  {name}:", *(f"    {line}" for line in lines if line)])


def configuration(*bundles: str) -> str:
    """Return a configuration file."""
    return "\n".join(["version: 1", "bundles:", *(bundles or ("  {}",))]) + "\n"


TWICE = frozenset({"duplicate"})
"""The methods that deliver packets more than once, which ``traffic`` does not allow."""

USUAL = configuration(bundle())
"""One bundle over eth1 and eth2."""


def wait_for(condition: Callable[[], object], timeout: float = 10) -> None:
    """Wait until ``condition()`` is true; AssertionError when it stays false."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.01)


def worker_pid(daemon: Ipeqld, name: str = "ipeql0") -> int:
    """Return the process id of the bundle's worker; OSError while there is none."""
    descriptor, pid = client.adopt(daemon.runtime / f"tun-{name}.sock")
    os.close(descriptor)
    return pid


def packets(daemon: Ipeqld, name: str = "ipeql0") -> dict[str, int]:
    """Return how many packets each slave in the worker's table has sent."""
    answer = client.request(daemon.runtime / f"tun-{name}.sock", "statistics")
    return {each["name"]: each["packets"] for each in answer["slaves"]}


def usable(daemon: Ipeqld, name: str = "ipeql0") -> list[str]:
    """Return the slaves that the worker was told to use, in the table's order."""
    table = client.request(daemon.runtime / f"tun-{name}.sock", "observe")["table"]
    return [each["name"] for each in table["slaves"] if each["usable"]] if table else []


def carries(daemon: Ipeqld, *names: str) -> Callable[[], bool]:
    """Return a condition: each slave named, or any at all, has sent packets since this call."""
    before = packets(daemon)

    def sent() -> set[str]:
        return {name for name, count in packets(daemon).items() if count > before.get(name, 0)}

    return lambda: sent().issuperset(names) if names else bool(sent())


@contextmanager
def traffic(lab: Lab, *receivers: str, most_lost: int = 0) -> Iterator[list[UdpResult]]:
    """Send 1000 packets/s to each of ``receivers`` during the context, by default of each version.

    AssertionError where more than ``most_lost`` of one stream did not come. What became of them is
    in the list after the context.
    """
    results: list[UdpResult] = []
    streams = [UdpStream(lab, to) for to in receivers or RECEIVERS]
    try:
        yield results
    finally:
        results += [stream.finish() for stream in streams]
    for result in results:
        assert result.lost <= most_lost, f"{result.lost} of {result.sent} were lost"
        assert not result.duplicated, f"{result.duplicated} of {result.sent} came more than once"


def hang_up(daemon: Ipeqld, text: str) -> None:
    """Write a configuration and tell the daemon by SIGHUP, as ``systemctl reload`` does."""
    daemon.write(text)
    os.kill(daemon.process.pid, signal.SIGHUP)


def rp_filter(lab: Lab, link: str) -> int:
    """Return a link's reverse path filter in host a."""
    return int(lab.a.call((Path("/proc/sys/net/ipv4/conf") / link / "rp_filter").read_text))


def machine(lab: Lab) -> dict[str, object]:
    """Return all that IPEQL may change in host a: links, addresses, routes, rp_filter."""
    queries = ("link", "address", "-4 route show table all", "-6 route show table all")
    shown: dict[str, object] = {
        query: sorted(
            json.dumps(each) for each in json.loads(lab.a.run("ip", "-j", *query.split()))
        )
        for query in queries
    }
    links = lab.a.call(lambda: [name for _, name in socket.if_nameindex()])
    return shown | {"rp_filter": {link: rp_filter(lab, link) for link in links}}
