"""The TUN backend as the reconciler sees it: devices opened, workers started, asked and watched."""

import asyncio
import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ipeql.backends import owned
from ipeql.backends import table as tables
from ipeql.backends.base import OnChange, ignore
from ipeql.backends.tun import client, wire
from ipeql.backends.tun.device import is_attached, open_device
from ipeql.errors import ApplyError, Code, Problem
from ipeql.methods import METHODS
from ipeql.state import (
    BundleStatistics,
    BundleTable,
    Capabilities,
    ObservedBundle,
)

RANK = 10
QUEUE_PACKETS = 1000
"""Packets the kernel keeps for the worker; at 1000 packets/s a second of its absence."""

STOP_TIMEOUT_S = 1.0
TUN_DEVICE = Path("/dev/net/tun")


@dataclass
class _Worker:
    """A running worker: its pidfd, and the process where we are its parent."""

    pidfd: int
    process: subprocess.Popen[bytes] | None = None


class TunBackend:
    """One TUN device and one worker process per bundle.

    ``runtime`` is the directory of the workers' sockets, ``tun-<bundle>.sock``. The device lives
    while the daemon or the worker has it open, so either may die and be replaced.
    """

    name = "tun"

    def __init__(self, runtime: Path, on_change: OnChange = ignore) -> None:
        self._runtime = runtime
        self._on_change = on_change
        self._devices: dict[str, int] = {}
        self._workers: dict[str, _Worker] = {}

    def capabilities(self) -> Capabilities:
        """Return what user space can do: every method, on any kernel with TUN."""
        reason = "" if TUN_DEVICE.exists() else f"{TUN_DEVICE} does not exist; load the module tun"
        return Capabilities(
            backend=self.name,
            available=not reason,
            methods=frozenset(METHODS),
            stripe_units=frozenset({"burst", "packet"}),
            rank=RANK,
            reason=reason,
        )

    async def observe(self) -> dict[str, ObservedBundle]:
        """Return the bundles whose worker answers; one that an earlier daemon left is adopted."""
        observed = {}
        for path in self._runtime.glob("tun-*.sock"):
            bundle = path.name.removeprefix("tun-").removesuffix(".sock")
            try:
                answer = await asyncio.to_thread(client.request, path, "observe")
                if bundle not in self._workers:
                    await self._adopt(bundle)
            except (OSError, client.WorkerError):
                continue
            table = tables.from_json(answer["table"]) if answer["table"] else None
            observed[bundle] = ObservedBundle(self.name, table)
        return observed

    async def create(self, bundle: str) -> None:
        """Open the device unless we hold it, and start a worker on it unless one answers."""
        answers = bundle in await self.observe()
        attached = bundle in self._devices and is_attached(self._devices[bundle])
        if answers and attached:
            return
        try:
            if bundle in self._workers:
                await self._end_worker(bundle)
                why = "it does not answer" if attached else "its device is gone"
                self._on_change(bundle, f"replacing the worker: {why}")
            if not attached:
                self._close_device(bundle)
                self._devices[bundle] = open_device(bundle)
                await _mark(bundle)
            self._start(bundle)
        except (OSError, NetlinkError) as error:
            self._close_device(bundle)
            raise ApplyError(_refused(bundle, error)) from error

    async def configure(self, bundle: str, table: BundleTable) -> None:
        """Replace the worker's slave table."""
        await self._ask(bundle, "configure", table=tables.to_json(table))

    async def destroy(self, bundle: str) -> None:
        """Stop the worker and close the device, which thereby disappears."""
        with contextlib.suppress(ApplyError):
            await self._ask(bundle, "stop")
        await self._end_worker(bundle, STOP_TIMEOUT_S)
        self._close_device(bundle)
        self._path(bundle).unlink(missing_ok=True)

    async def statistics(self, bundle: str) -> BundleStatistics:
        """Return the worker's counters."""
        return wire.statistics_from_json(await self._ask(bundle, "statistics"))

    async def close(self) -> None:
        """Stop watching; workers that still run go on with devices of their own."""
        for bundle in list(self._workers):
            self._forget_worker(bundle)
        for bundle in list(self._devices):
            self._close_device(bundle)

    def _path(self, bundle: str) -> Path:
        return self._runtime / f"tun-{bundle}.sock"

    async def _ask(self, bundle: str, do: str, **fields: object) -> dict[str, object]:
        try:
            return await asyncio.to_thread(client.request, self._path(bundle), do, **fields)
        except (OSError, client.WorkerError) as error:
            raise ApplyError(_refused(bundle, error)) from error

    async def _adopt(self, bundle: str) -> None:
        descriptor, pid = await asyncio.to_thread(client.adopt, self._path(bundle))
        if bundle in self._devices:
            os.close(descriptor)
        else:
            self._devices[bundle] = descriptor
        self._watch(bundle, _Worker(os.pidfd_open(pid)))

    def _start(self, bundle: str) -> None:
        path = self._path(bundle)
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        device = self._devices[bundle]
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(str(path))
            path.chmod(0o600)
            listener.listen()
            command = [sys.executable, "-m", "ipeql.backends.tun.worker", bundle]
            process = subprocess.Popen(
                [*command, str(device), str(listener.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(device, listener.fileno()),
                start_new_session=True,
            )
        self._watch(bundle, _Worker(os.pidfd_open(process.pid), process))

    def _watch(self, bundle: str, worker: _Worker) -> None:
        self._workers[bundle] = worker
        asyncio.get_running_loop().add_reader(worker.pidfd, self._worker_ended, bundle)

    async def _end_worker(self, bundle: str, patience: float = 0.0) -> None:
        """Kill the worker, if there is one, unless it ends by itself within ``patience`` s."""
        worker = self._workers.get(bundle)
        if worker is None:
            return
        try:
            async with asyncio.timeout(patience):
                await _ended(worker.pidfd)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(worker.pidfd, signal.SIGKILL)
            await _ended(worker.pidfd)
        self._forget_worker(bundle)

    def _worker_ended(self, bundle: str) -> None:
        process = self._workers[bundle].process
        self._forget_worker(bundle)
        status = process.wait() if process else None
        how = f" ({_status(status)})" if status is not None else ""
        self._on_change(bundle, f"the worker ended{how}; starting another")

    def _forget_worker(self, bundle: str) -> None:
        worker = self._workers.pop(bundle)
        asyncio.get_running_loop().remove_reader(worker.pidfd)
        os.close(worker.pidfd)
        if worker.process:
            worker.process.poll()

    def _close_device(self, bundle: str) -> None:
        descriptor = self._devices.pop(bundle, None)
        if descriptor is not None:
            os.close(descriptor)


async def _mark(bundle: str) -> None:
    """Mark the device as ours and give it a longer queue."""
    async with AsyncIPRoute() as kernel:
        index = owned.named(bundle)
        await owned.claim(kernel, index, bundle)
        await kernel.link("set", index=index, txqlen=QUEUE_PACKETS)


async def _ended(pidfd: int) -> None:
    """Wait until the process behind a pidfd has ended."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.remove_reader(pidfd)
    loop.add_reader(pidfd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(pidfd)


def _status(status: int) -> str:
    return f"status {status}" if status >= 0 else signal.Signals(-status).name


def _refused(bundle: str, error: Exception) -> Problem:
    helps = {
        errno.EPERM: "run as root, or give the service CAP_NET_ADMIN and CAP_NET_RAW",
        errno.ENOENT: "load the module tun, or give the service access to /dev/net/tun",
        errno.EBUSY: f"another program holds {bundle}; choose another name for the bundle",
        errno.ENODEV: "a slave's link went away meanwhile; the next pass sees it",
    }
    number = error.code if isinstance(error, NetlinkError) else getattr(error, "errno", 0)
    help_ = helps.get(number, "")
    return Problem(Code.APPLY_FAILED, f"{bundle}: tun: {error}", help_, bundle=bundle)
