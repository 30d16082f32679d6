"""The worker's process: start it, find it, end it."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from ipeql.state import ObservedBundle

MODULE = "ipeql.backends.tun.worker"

START_S = 60.0
"""A worker that needs longer until it answers is stuck. On a machine that gives it 5 % of a
processor, 0.5 s of work take 10 s."""

IDLE_START_S = 15.0
"""The same for a worker that does not use the processor in this time."""

SLOW_S = 30.0
"""A worker that uses the processor, but does not answer for so long, is stuck."""


@dataclass
class Process:
    """A running worker: its pidfd, and the process if we are its parent.

    ``last``: its last observed state. ``other_version``: it is of another version of IPEQL.
    """

    pid: int
    pidfd: int
    child: subprocess.Popen[bytes] | None = None
    last: ObservedBundle | None = None
    heard: float = 0.0
    other_version: bool = False

    def cpu(self) -> int:
        """Return the processor time used so far, in ticks (proc(5)); 0 where it has ended."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0
        return int(fields[11]) + int(fields[12])

    def is_slow(self, cpu_before: int) -> bool:
        """Say whether a silent worker works; ``cpu_before``: its processor time at the request."""
        return self.cpu() > cpu_before and monotonic() - self.heard < SLOW_S

    def forget(self) -> int | None:
        """Close its pidfd; return its exit status if it was our child and has ended."""
        os.close(self.pidfd)
        return self.child.poll() if self.child else None


def start(bundle: str, ifindex: int, device: int, path: Path) -> Process:
    """Start a worker that has the descriptor ``device`` and is asked at ``path``.

    ``ifindex`` is that of the bundle's device.

    Safe path: without ``-P`` the module would be looked for in the current directory first. Raises
    OSError.
    """
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen()
        numbers = (ifindex, device, listener.fileno())
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", MODULE, bundle, *map(str, numbers)],
            stdin=subprocess.DEVNULL,
            pass_fds=(device, listener.fileno()),
            start_new_session=True,
        )
    return Process(child.pid, os.pidfd_open(child.pid), child, heard=monotonic())


def running(pid: int) -> Process:
    """Return a worker that an earlier daemon started. Raises OSError where it has ended."""
    return Process(pid, os.pidfd_open(pid), heard=monotonic())


def strays(bundle: str) -> list[Process]:
    """Return the bundle's workers in this network namespace, also those of other daemons."""
    here = Path("/proc/thread-self/ns/net").stat().st_ino
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if not _is_worker(entry, bundle) or (entry / "ns/net").stat().st_ino != here:
                continue
            process = running(int(entry.name))
            if _is_worker(entry, bundle):  # the same process, and not another one with its pid
                found.append(process)
            else:
                process.forget()
    return found


def _is_worker(entry: Path, bundle: str) -> bool:
    words = (entry / "cmdline").read_bytes().split(b"\0")
    module = MODULE.encode()
    return module in words and words[words.index(module) + 1] == os.fsencode(bundle)


async def end(process: Process, patience: float = 0.0, *, by: int = 0) -> None:
    """Wait ``patience`` s until a worker has ended, after signal ``by`` if given; then kill it."""
    for number, wait in ((by, patience), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            if number:
                signal.pidfd_send_signal(process.pidfd, number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await _ended(process.pidfd)
                return


async def _ended(pidfd: int) -> None:
    """Wait until the process of a pidfd has ended."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.remove_reader(pidfd)
    loop.add_reader(pidfd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(pidfd)
