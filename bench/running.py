"""What the scenarios on the running kernel share: a lab, and IPEQL's daemon in it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench.candidates import Candidate
from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld


def configuration(candidate: Candidate, links: Sequence[str]) -> str:
    """Return a configuration file: bundle ipeql0 of the candidate's kind over ``links``."""
    slaves = "".join(
        f"      - {{name: {link}, bandwidth: 1Gbit, lag: 1ms}}\n"
        for link in links[: candidate.slaves]
    )
    return (
        "version: 1\n"
        "bundles:\n"
        "  ipeql0:\n"
        f"    method: {candidate.method}\n"
        f"    backend: {candidate.kind}\n"
        "    addresses: [10.9.0.1/24]\n"
        f"    slaves:\n{slaves}"
    )


@contextmanager
def bundle(candidate: Candidate) -> Iterator[tuple[Lab, Ipeqld]]:
    """Have two hosts joined by plain links, and the candidate's bundle in the sender.

    RuntimeError where the kernel or this installation cannot.
    """
    with Lab([None] * candidate.slaves) as lab:
        lab.plain_receiver()
        with Ipeqld(lab.a, configuration(candidate, lab.names)) as ipeqld:
            yield lab, ipeqld


def plain_address(lab: Lab) -> str:
    """Return where the receiver is over the first link alone."""
    return str(lab.address(lab.b, lab.names[0]).ip)


def subflows(lab: Lab, first: str) -> None:
    """Have MPTCP use all links: the receiver tells of its addresses beside that over ``first``."""
    others = [link for link in lab.names if link != first]
    count = str(len(others))
    for host in (lab.a, lab.b):
        host.run("ip", "mptcp", "limits", "set", "subflow", count, "add_addr_accepted", count)
    for link in others:
        address = str(lab.address(lab.b, link).ip)
        lab.b.run("ip", "mptcp", "endpoint", "add", address, "dev", link, "signal")
