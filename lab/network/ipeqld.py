"""IPEQL itself in a host of the lab: its own configuration, runtime directory, daemon."""

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ipeql.backends.ebpf import pins
from ipeql.backends.tun import client
from ipeql.errors import ExitCode
from lab.network import netns
from lab.network.host import Host

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 40.0
"""The kernel may be verifying programs for it, which takes long on a busy machine."""


class Ipeqld:
    """``ipeqld`` running in ``host`` with one configuration file; a context manager.

    ``log`` collects the lines of its stderr. The daemon removes its bundles when the context ends.
    """

    def __init__(self, host: Host, configuration: str, *options: str) -> None:
        self.host = host
        self.log: list[str] = []
        self._directory = tempfile.TemporaryDirectory(prefix="ipeql-lab-")
        root = Path(self._directory.name)
        self.config, self.runtime = root / "etc", root / "run"
        self.config.mkdir()
        self.runtime.mkdir()
        self._options = options
        self.write(configuration)

    def __enter__(self) -> Self:
        """Start the daemon and wait until every bundle is ready; RuntimeError where it is not."""
        self.start()
        online = self.run_ipeql("wait-online", "--timeout", f"{START_TIMEOUT_S:.0f}s")
        if online.returncode:
            self.__exit__(None, None, None)
            raise RuntimeError("\n".join([online.stderr, *self.log]))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the daemon, which removes its bundles, and what a killed one left behind."""
        self.stop()
        for path in self.runtime.glob("tun-*.sock"):
            with contextlib.suppress(OSError, client.WorkerError):
                client.request(path, "stop")
        netns.inside(self.host.netns, pins.remove_all)
        self._directory.cleanup()

    def write(self, configuration: str) -> None:
        """Replace the configuration file; the daemon reads it on reload."""
        (self.config / "lab.yaml").write_text(configuration)

    def start(self) -> None:
        """Start the daemon."""
        self.process = self._run("ipeql.daemon", *self._options, stderr=subprocess.PIPE)

    def stop(self) -> int:
        """End the daemon by SIGTERM and return its status; workers it leaves behind stay."""
        assert self.process.stderr
        self.process.terminate()
        status = self.process.wait(STOP_TIMEOUT_S)
        while select.select([self.process.stderr], [], [], 0)[0] and self._read_log():
            pass
        return status

    def run_ipeql(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command ``ipeql`` and return how it ended, whether well or not."""
        process = self._run("ipeql", *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        stdout, stderr = process.communicate(timeout=2 * START_TIMEOUT_S)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def popen_ipeql(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command ``ipeql``; its stdout is a pipe."""
        return self._run("ipeql", *arguments, stdout=subprocess.PIPE)

    def ipeql(self, *arguments: str) -> str:
        """Run the command ``ipeql`` and return its stdout; RuntimeError when it fails."""
        done = self.run_ipeql(*arguments)
        if done.returncode:
            raise RuntimeError(f"ipeql {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def status(self) -> dict[str, Any]:
        """Return the status document; RuntimeError where there is none."""
        done = self.run_ipeql("status", "--json")
        if done.returncode not in (ExitCode.OK, ExitCode.DOWN):
            raise RuntimeError(f"ipeql status: {done.stderr}")
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def reload(self, configuration: str) -> None:
        """Write a configuration and have it applied; returns when it is in the kernel."""
        self.write(configuration)
        self.ipeql("reload")

    def wait_log(self, text: str, timeout: float = 10) -> None:
        """Wait until a line of the daemon's log contains ``text``."""
        assert self.process.stderr
        deadline = time.monotonic() + timeout
        while not any(text in line for line in self.log):
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self.process.stderr], [], [], left)[0] or not self._read_log():
                raise TimeoutError(f"{text!r} is not in the log:\n" + "\n".join(self.log))

    def _read_log(self) -> bool:
        """Take in what has been written to the log, or wait for more; False at its end."""
        assert self.process.stderr
        data = os.read(self.process.stderr.fileno(), 65536)
        self.log += data.decode().splitlines()
        return bool(data)

    def _run(
        self, module: str, *arguments: str, stdout: int | None = None, stderr: int | None = None
    ) -> subprocess.Popen[str]:
        bus = f"DBUS_SYSTEM_BUS_ADDRESS=unix:path={self.runtime}/bus"  # the machine's is not its
        variables = (f"RUNTIME_DIRECTORY={self.runtime}", bus, "NO_COLOR=1")
        command = (sys.executable, "-m", module, "--config", str(self.config), *arguments)
        return self.host.popen("env", *variables, *command, stdout=stdout, stderr=stderr)
