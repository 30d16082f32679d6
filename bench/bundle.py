"""A candidate put over a site's links: a peer, or a bundle of ours by its backend's contract."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.candidates import CLASS, FLOW, SPARE, Candidate
from bench.configuration import PROBED
from bench.host import Host
from bench.peers import PEERS, plain_end
from bench.probed import probed
from bench.site import SENDER, Site
from bench.tools import MODULE
from ipeql.backends.base import Backend
from ipeql.methods import METHODS, SlaveParameters, default_queue_limit
from ipeql.state import BundleTable, SlaveRow

BUNDLE = "ipeql0"
MTU = 1500
EXPEDITED = 46
"""The DSCP EF (RFC 3246)."""

KNOWN = 0.995
"""Of a link's rate, what is given as its bandwidth: a little low, as docs/methods.md has it."""

WORKER_START_S = 3600.0
"""The instruction clock leaps while a worker's modules are read from the disk."""


def candidate_over(site: Site, candidate: Candidate, runtime: Path) -> AbstractContextManager[None]:
    """Return a context in which what is sent to ``RECEIVER`` goes by ``candidate``.

    ``runtime`` is a directory for what a dataplane keeps while it runs. LookupError where this
    kernel or this installation has no such candidate. The sender is this process's own network
    namespace.
    """
    if candidate.kind in PEERS:
        return PEERS[candidate.kind](site)
    if candidate.kind.endswith(PROBED):
        return _probed_bundle(site, candidate, runtime)
    return _near_bundle(site, candidate, runtime)


@contextmanager
def _near_bundle(site: Site, candidate: Candidate, runtime: Path) -> Iterator[None]:
    with bundle(site, candidate, runtime, SENDER), plain_end(site):
        yield


@contextmanager
def _probed_bundle(site: Site, candidate: Candidate, runtime: Path) -> Iterator[None]:
    if candidate.kind.startswith("kmod"):
        load_module(site.a, runtime)
    with probed(site, candidate, runtime):
        yield


@contextmanager
def bundle(site: Site, candidate: Candidate, runtime: Path, address: str) -> Iterator[None]:
    """Have a bundle over the links of host a of ``site``, this process's own namespace.

    It has ``address``/24. LookupError as above.
    """
    if candidate.kind == "kmod":
        load_module(site.a, runtime)
    backend = _backend(candidate.kind, runtime)
    reason = backend.capabilities().reason
    if reason:
        raise LookupError(reason)
    rows = tuple(
        SlaveRow(
            socket.if_nametoindex(link), link, bandwidth=int(path.rate * KNOWN), lag=path.delay
        )
        for link, path in zip(site.links, site.paths, strict=True)
    )
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(backend.create(BUNDLE))
        loop.run_until_complete(backend.configure(BUNDLE, _table(candidate, rows)))
        site.a.ip(f"link set {BUNDLE} up", f"address add {address}/24 dev {BUNDLE}")
        yield
    finally:
        loop.run_until_complete(backend.destroy(BUNDLE))
        loop.close()


def _table(candidate: Candidate, rows: tuple[SlaveRow, ...]) -> BundleTable:
    """Return the table that a plan makes of a configuration without parameters."""
    parameters: tuple[tuple[str, int], ...] = ()
    if "queue_limit" in METHODS[candidate.method].parameters:
        known = [SlaveParameters(row.bandwidth, row.lag) for row in rows]
        parameters = (("queue_limit", default_queue_limit(known, MTU)),)
    table = BundleTable(candidate.method, parameters, slaves=rows)
    if candidate.rule == FLOW:
        return replace(table, stripe_unit="flow")
    if candidate.rule == SPARE:
        return replace(table, slaves=(*rows[:-1], replace(rows[-1], use="when-down")))
    if candidate.rule == CLASS:
        return replace(table, light_dscps=1 << EXPEDITED)
    return table


def load_module(host: Host, tools: Path) -> None:
    """Load our kernel module unless it is; where there is none, the backend says so."""
    module = tools / MODULE
    if module.exists() and not Path("/sys/module/ipeql").exists():
        host.run("insmod", str(module))


def _backend(kind: str, runtime: Path) -> Backend:
    """Return a backend, loaded only now: in an emulated kernel an import costs many seconds."""
    try:
        module = import_module(f"ipeql.backends.{kind}.backend")
    except ModuleNotFoundError as error:
        raise LookupError("this IPEQL has no such backend") from error
    if kind == "tun":
        client: Any = import_module("ipeql.backends.tun.client")
        client.TIMEOUT_S = WORKER_START_S
    given = [runtime] if kind == "tun" else []
    made: Backend = getattr(module, f"{kind.capitalize()}Backend")(*given)
    return made
