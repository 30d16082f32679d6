"""IPEQL's daemon at both ends of a site, with a bundle that asks the other end over every link."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.candidates import Candidate
from bench.host import Host
from bench.site import RECEIVER, SENDER, Site

PROBED = "-probe"
"""Ends the kind of a candidate that is measured so."""

WAIT_S = 0.1
START_S = 3600
"""The instruction clock leaps while programs are read from the disk."""


@contextmanager
def probed(site: Site, candidate: Candidate, runtime: Path) -> Iterator[None]:
    """Have the bundle at both ends; RuntimeError where it does not come about.

    ``runtime`` is a directory for what the daemons keep while they run.
    """
    with ExitStack() as stack:
        for (host, address), far in zip(site.ends, (RECEIVER, SENDER), strict=True):
            text = configuration(site, candidate, address, far)
            stack.enter_context(_daemon(host, text, runtime / address))
        yield


def configuration(site: Site, candidate: Candidate, address: str, far: str) -> str:
    """Return a configuration file: bundle ipeql0 with ``address``/24, and ``far`` its far end."""
    slaves = "".join(
        f"      - {{name: {link}, bandwidth: {path.rate}bit, lag: {path.delay // 1000}us}}\n"
        for link, path in zip(site.links, site.paths, strict=True)
    )
    return (
        "version: 1\n"
        "bundles:\n"
        "  ipeql0:\n"
        f"    method: {candidate.method}\n"
        f"    backend: {candidate.kind.removesuffix(PROBED)}\n"
        f"    addresses: [{address}/24]\n"
        f"    probe: {{to: {far}}}\n"
        f"    slaves:\n{slaves}"
    )


@contextmanager
def _daemon(host: Host, text: str, directory: Path) -> Iterator[None]:
    directory.mkdir(exist_ok=True)
    (directory / "site.yaml").write_text(text)
    variables = (
        f"RUNTIME_DIRECTORY={directory}",
        f"DBUS_SYSTEM_BUS_ADDRESS=unix:path={directory}/bus",
    )
    python = ("env", *variables, sys.executable, "-m")
    options = ("--config", str(directory))
    log = directory / "log"
    with (
        log.open("w") as file,
        subprocess.Popen(host.command(*python, "ipeql.daemon", *options), stderr=file) as daemon,
    ):
        try:
            wait = ("wait-online", "--timeout", f"{START_S}s")
            with host.start(*python, "ipeql", *options, *wait) as waiting:
                while waiting.poll() is None:
                    if daemon.poll() is not None:
                        waiting.kill()
                    time.sleep(WAIT_S)
            if waiting.returncode:
                raise RuntimeError(log.read_text().strip() or "the daemon is not ready")
            yield
        finally:
            daemon.terminate()
