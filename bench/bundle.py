"""A candidate put over a site's links: a peer, or a bundle of ours by its backend's contract."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.candidates import Candidate
from bench.host import Host
from bench.peers import PEERS, plain_end
from bench.site import SENDER, Site
from bench.tools import MODULE
from ipeql.backends.base import Backend
from ipeql.state import BundleTable, SlaveRow

BUNDLE = "ipeql0"
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
    return _bundle(site, candidate, runtime)


@contextmanager
def _bundle(site: Site, candidate: Candidate, runtime: Path) -> Iterator[None]:
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
        loop.run_until_complete(
            backend.configure(BUNDLE, BundleTable(candidate.method, slaves=rows))
        )
        site.a.ip(f"link set {BUNDLE} up", f"address add {SENDER}/24 dev {BUNDLE}")
        with plain_end(site):
            yield
    finally:
        loop.run_until_complete(backend.destroy(BUNDLE))
        loop.close()


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
