"""A machine with a systemd of its own, in a network namespace of the lab."""

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.network.host import Host

BOOT_TIMEOUT_S = 60.0
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

BPF_OPTIONS = ("--system-call-filter=bpf", "--capability=CAP_BPF,CAP_PERFMON")
BPF_ENVIRONMENT = {"SYSTEMD_NSPAWN_API_VFS_WRITABLE": "1"}


@contextlib.contextmanager
def overlay(lower: Path) -> Iterator[Path]:
    """Yield a tree that begins as ``lower`` is, can be changed, and is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="ipeql-tree-") as directory:
        upper, work, tree = (Path(directory, name) for name in ("upper", "work", "tree"))
        for path in (upper, work, tree):
            path.mkdir()
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        subprocess.run(["mount", "-t", "overlay", "-o", options, "ipeql-test", tree], check=True)
        try:
            yield tree
        finally:
            subprocess.run(["umount", tree], check=True)


class Machine:
    """``tree`` booted in the network namespace of ``host``; a context manager.

    Before it is entered files of the tree can be written and units enabled. ``bpf``: it may load
    eBPF programs, and all of sysfs is there, which has the place of the bpf file system.
    """

    def __init__(self, tree: Path, host: Host, *, bpf: bool = False) -> None:
        self.tree = tree
        self._host = host
        self._options = BPF_OPTIONS if bpf else ()
        self._environment = BPF_ENVIRONMENT if bpf else {}

    def __enter__(self) -> Self:
        """Boot, and wait until systemd says that it is done."""
        with tempfile.TemporaryDirectory(prefix="ipeql-notify-") as directory:
            path = str(Path(directory, "notify"))
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
                notify.bind(path)
                notify.settimeout(BOOT_TIMEOUT_S)
                self._nspawn = subprocess.Popen(
                    [
                        *("systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit"),
                        f"--network-namespace-path=/run/netns/{self._host.netns}",
                        "--capability=CAP_NET_ADMIN",
                        *self._options,
                        *("--notify-ready=yes", "--console=pipe"),
                        *("--directory", str(self.tree), "--machine", self._host.netns),
                    ],
                    env=os.environ | {"NOTIFY_SOCKET": path} | self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,
                )
                try:
                    self._leader = _leader(notify)
                except BaseException:
                    self._nspawn.terminate()
                    self._nspawn.wait()
                    raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Switch it off without ado."""
        os.kill(self._leader, signal.SIGKILL)
        self._nspawn.wait()

    def try_(self, *command: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command in the machine, as root, and return how it ended."""
        entry = ("nsenter", "--target", str(self._leader), "--all")
        environment = ("env", "-i", f"PATH={PATH}", "LANG=C.UTF-8", "HOME=/root")
        return subprocess.run(
            [*entry, *environment, *command],
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
        )

    def run(self, *command: str, timeout: float = 60) -> str:
        """Run a command in the machine, as root; return its stdout, RuntimeError if it fails."""
        done = self.try_(*command, timeout=timeout)
        if done.returncode:
            raise RuntimeError(
                f"{' '.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}"
                + self.try_("journalctl", "--no-pager", "--lines=50").stdout
            )
        return done.stdout

    def write(self, path: str, text: str) -> None:
        """Write a file of the machine."""
        file = self.tree / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def wait(self, what: Callable[[], bool], timeout: float = 20) -> None:
        """Wait until ``what()`` is true; TimeoutError with the journal's end where it is not."""
        deadline = time.monotonic() + timeout
        while not what():
            if time.monotonic() > deadline:
                raise TimeoutError(self.run("journalctl", "--no-pager", "--lines=50"))
            time.sleep(0.1)


def _leader(notify: socket.socket) -> int:
    """Return the machine's first process as soon as nspawn says that the machine is up."""
    leader = 0
    while True:
        for line in notify.recv(4096).decode().splitlines():
            key, _, value = line.partition("=")
            if key == "X_NSPAWN_LEADER_PID":
                leader = int(value)
            elif (key, value) == ("READY", "1"):
                return leader
