"""The TUN backend for the reconciler: opens devices, starts workers, queries and watches them."""

import asyncio
import contextlib
import errno
import os
import signal
import time
from pathlib import Path

from pyroute2.netlink.exceptions import NetlinkError

from ipeql.backends import owned
from ipeql.backends import table as tables
from ipeql.backends.base import OnChange, ignore
from ipeql.backends.receive import receiver
from ipeql.backends.tun import client, pair, process, wire
from ipeql.backends.tun.process import Process
from ipeql.errors import ApplyError, Code, Problem
from ipeql.methods import METHODS, UNITS
from ipeql.state import (
    BundleStatistics,
    BundleTable,
    Capabilities,
    ObservedBundle,
    Receiver,
)
from ipeql.state.path import Adjustments

RANK = 10
STOP_TIMEOUT_S = 1.0
TUN_DEVICE = Path("/dev/net/tun")


class TunBackend:
    """One device, upon a TAP device, and one worker process per bundle.

    ``runtime`` is the directory of the workers' sockets, ``tun-<bundle>.sock``. The device lives
    while the daemon or the worker has it open, so either of them can be replaced.
    """

    name = "tun"

    def __init__(self, runtime: Path, on_change: OnChange = ignore) -> None:
        self._runtime = runtime
        self._on_change = on_change
        self._devices: dict[str, int] = {}
        self._workers: dict[str, Process] = {}
        self._replaced: dict[str, Process] = {}

    def capabilities(self) -> Capabilities:
        """Return what user space supports: every method, on every kernel with TUN."""
        reason = "" if TUN_DEVICE.exists() else f"{TUN_DEVICE} does not exist; load the module tun"
        return receiver.able(
            Capabilities(
                backend=self.name,
                available=not reason,
                methods=frozenset(METHODS),
                stripe_units=frozenset({"burst", "packet", *UNITS}),
                rank=RANK,
                reason=reason,
            )
        )

    async def observe(self) -> dict[str, ObservedBundle]:
        """Return the bundles whose worker answers; one that an earlier daemon left is adopted.

        A worker of another version is left out, so that it is replaced. The state of a slow worker
        is assumed to be unchanged.
        """
        paths = self._runtime.glob("tun-*.sock")
        bundles = [path.name.removeprefix("tun-").removesuffix(".sock") for path in paths]
        found = await asyncio.gather(*map(self._observe, bundles))
        return {name: seen for name, seen in zip(bundles, found, strict=True) if seen}

    async def create(self, bundle: str) -> None:
        """Open the device unless it is open, and start a worker on it unless one answers."""
        answers = await self._observe(bundle) is not None
        attached = self._has_device(bundle)
        if answers and attached:
            return
        try:
            await self._make_way(bundle, attached)
            if not attached:
                self._close_device(bundle)
                for stray in process.strays(bundle):
                    self._on_change(bundle, "ending a worker that does not answer")
                    await process.end(stray)
                    stray.forget()
                self._devices[bundle] = await pair.make(bundle)
            given = owned.index(bundle), self._devices[bundle], self._path(bundle)
            self._watch(bundle, process.start(bundle, *given))
            await self._wait_started(bundle)
        except (OSError, NetlinkError, client.WorkerError) as error:
            await self._end_workers(bundle)
            self._close_device(bundle)
            raise ApplyError(_refused(bundle, error)) from error

    async def configure(self, bundle: str, table: BundleTable) -> None:
        """Replace the worker's slave table; then end the older worker that it replaces."""
        await self._ask(bundle, "configure", table=tables.to_json(table))
        replaced = self._replaced.pop(bundle, None)
        if replaced:
            await process.end(replaced, STOP_TIMEOUT_S, by=signal.SIGTERM)
            replaced.forget()

    async def adjust(self, bundle: str, adjustments: Adjustments) -> None:
        """Have the worker adjust its slaves, whoever has started it."""
        wanted = tables.adjustments_to_json(adjustments)
        await self._ask(bundle, "adjust", adjustments=wanted)

    async def receive(self, bundle: str, wanted: Receiver | None) -> None:
        """Tell the receiving program what belongs to the bundle; None: remove it."""
        try:
            await receiver.receive(bundle, wanted)
        except OSError as error:
            raise ApplyError(_refused(bundle, error)) from error

    async def destroy(self, bundle: str) -> None:
        """Stop the worker and close the device, which removes the device."""
        try:
            await receiver.remove(bundle)
        except OSError as error:
            raise ApplyError(_refused(bundle, error)) from error
        with contextlib.suppress(ApplyError):
            await self._ask(bundle, "stop")
            await self._end_workers(bundle, STOP_TIMEOUT_S)
        await self._end_workers(bundle)
        self._close_device(bundle)
        self._path(bundle).unlink(missing_ok=True)

    async def statistics(self, bundle: str) -> BundleStatistics:
        """Return the worker's counters."""
        answer = await self._ask(bundle, "statistics")
        try:
            return receiver.with_received(bundle, wire.statistics_from_json(answer))
        except (TypeError, KeyError, AttributeError) as error:
            unclear = f"{bundle}: tun: the worker's counters cannot be understood"
            help_ = "the next pass replaces a worker of another version"
            raise ApplyError(Problem(Code.INTERNAL, unclear, help_, bundle=bundle)) from error

    async def sample(self) -> bool:
        """Do nothing: the workers measure by themselves."""
        return False

    async def close(self) -> None:
        """Stop watching; running workers continue and keep their devices open."""
        for bundle in list(self._workers):
            self._forget(bundle)
        for bundle in list(self._devices):
            self._close_device(bundle)

    def _has_device(self, bundle: str) -> bool:
        return bundle in self._devices and pair.is_whole(bundle, self._devices[bundle])

    def _path(self, bundle: str) -> Path:
        return self._runtime / f"tun-{bundle}.sock"

    async def _ask(self, bundle: str, do: str, **fields: object) -> dict[str, object]:
        """Send a request to the worker, again while it is only slow; ApplyError."""
        worker = self._workers.get(bundle)
        while True:
            cpu = worker.cpu() if worker else 0
            try:
                path = self._path(bundle)
                answer = await asyncio.to_thread(client.request, path, do, fields)
            except client.SilentError as error:
                if not worker or not worker.is_slow(cpu):
                    raise ApplyError(_refused(bundle, error)) from error
            except (OSError, client.WorkerError) as error:
                raise ApplyError(_refused(bundle, error)) from error
            else:
                return answer

    async def _observe(self, bundle: str) -> ObservedBundle | None:
        path, worker = self._path(bundle), self._workers.get(bundle)
        cpu = worker.cpu() if worker else 0
        try:
            answer = await asyncio.to_thread(client.request, path, "observe")
            if bundle not in self._workers:
                await self._adopt(bundle)
        except client.SilentError:
            return worker.last if worker and worker.is_slow(cpu) else None
        except (OSError, client.WorkerError):
            return None
        if not self._has_device(bundle):
            return None
        worker = self._workers[bundle]
        worker.heard = time.monotonic()
        if not wire.is_ours(answer):
            worker.other_version = True
            return None
        try:
            table = tables.from_json(answer["table"]) if answer["table"] else None
        except (TypeError, ValueError, KeyError, AttributeError):
            return None
        worker.last = ObservedBundle(
            self.name,
            table,
            receiver=await receiver.observe(bundle),
            binds_late=table is not None and METHODS[table.method].binds_late,
        )
        return worker.last

    async def _adopt(self, bundle: str) -> None:
        descriptor, pid = await asyncio.to_thread(client.adopt, self._path(bundle))
        if bundle in self._devices:
            os.close(descriptor)
        else:
            self._devices[bundle] = descriptor
        self._watch(bundle, process.running(pid))

    async def _make_way(self, bundle: str, attached: bool) -> None:
        """End the present worker; a worker of another version is kept until the next has a table.

        Until then both read the same device, and nothing is lost.
        """
        worker = self._workers.get(bundle)
        if worker is None:
            return
        if worker.other_version and attached:
            self._on_change(bundle, "replacing the worker: it is of another version")
            self._unwatch(bundle)
            earlier = self._replaced.get(bundle)
            self._replaced[bundle] = worker
            if earlier:
                await process.end(earlier)
                earlier.forget()
            return
        why = "it does not answer" if attached else "its device is gone"
        self._on_change(bundle, f"replacing the worker: {why}")
        await self._end_workers(bundle)

    async def _wait_started(self, bundle: str) -> None:
        """Wait until a new worker answers. Raises OSError or WorkerError if it does not."""
        worker = self._workers[bundle]
        begin = progress = time.monotonic()
        while True:
            cpu = worker.cpu()
            try:
                await asyncio.to_thread(client.request, self._path(bundle), "observe")
            except client.SilentError:
                now = time.monotonic()
                progress = now if worker.cpu() > cpu else progress
                if now - begin > process.START_S or now - progress > process.IDLE_START_S:
                    raise
            else:
                worker.heard = time.monotonic()
                return

    def _watch(self, bundle: str, worker: Process) -> None:
        self._workers[bundle] = worker
        asyncio.get_running_loop().add_reader(worker.pidfd, self._worker_ended, bundle)

    def _unwatch(self, bundle: str) -> Process:
        worker = self._workers.pop(bundle)
        asyncio.get_running_loop().remove_reader(worker.pidfd)
        return worker

    def _forget(self, bundle: str) -> int | None:
        return self._unwatch(bundle).forget()

    async def _end_workers(self, bundle: str, patience: float = 0.0) -> None:
        """Kill the workers that do not end within ``patience`` s."""
        if bundle in self._workers:
            worker = self._workers[bundle]
            await process.end(worker, patience)
            if self._workers.get(bundle) is worker:
                self._forget(bundle)
        replaced = self._replaced.pop(bundle, None)
        if replaced:
            await process.end(replaced)
            replaced.forget()

    def _worker_ended(self, bundle: str) -> None:
        child = self._workers[bundle].child
        status = child.wait() if child else None
        self._forget(bundle)
        how = f" ({_status(status)})" if status is not None else ""
        self._on_change(bundle, f"the worker ended{how}; starting another")

    def _close_device(self, bundle: str) -> None:
        descriptor = self._devices.pop(bundle, None)
        if descriptor is not None:
            os.close(descriptor)


def _status(status: int) -> str:
    return f"status {status}" if status >= 0 else signal.Signals(-status).name


def _refused(bundle: str, error: Exception) -> Problem:
    helps = {
        errno.EPERM: "run as root, or give the service CAP_NET_ADMIN and CAP_NET_RAW",
        errno.ENOENT: "load the module tun, or give the service access to /dev/net/tun",
        errno.EBUSY: f"another program holds {bundle}; choose another name for the bundle",
        errno.EMFILE: "raise the limit of open files: LimitNOFILE= of the service, or ulimit -n",
        errno.E2BIG: "let fewer, larger routes lead to the bundle, or set 'receive: slave'",
        errno.ENODEV: "a slave's link went away meanwhile; the next pass sees it",
    }
    number = error.code if isinstance(error, NetlinkError) else getattr(error, "errno", 0)
    help_ = helps.get(number, "")
    return Problem(Code.APPLY_FAILED, f"{bundle}: tun: {error}", help_, bundle=bundle)
