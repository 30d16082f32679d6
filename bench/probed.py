"""IPEQL's daemon at both ends of a site, with a bundle that asks the other end over every link."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.candidates import Candidate
from bench.configuration import configuration
from bench.host import Host
from bench.site import RECEIVER, SENDER, Site

WAIT_S = 0.1
START_S = 3600
"""The instruction clock leaps while programs are read from the disk."""


@contextmanager
def probed(site: Site, candidate: Candidate, runtime: Path) -> Iterator[None]:
    """Have the bundle at both ends; RuntimeError where it does not come about.

    ``runtime`` is a directory for what the daemons keep while they run.
    """
    slaves = [
        f"name: {link}, bandwidth: {path.rate}bit, lag: {path.delay // 1000}us"
        for link, path in zip(site.links, site.paths, strict=True)
    ]
    with ExitStack() as stack:
        for (host, address), far in zip(site.ends, (RECEIVER, SENDER), strict=True):
            text = configuration(candidate, address, slaves, far)
            stack.enter_context(_daemon(host, text, runtime / address))
        yield


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
