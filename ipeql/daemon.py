"""``ipeqld``: the wiring of the pass to what wakes it, and of its results to those who watch.

Woken by the kernel, a backend, a signal, a caller, or time, it runs the same pass each time; a
wake-up says nothing about why. A configuration that cannot be read leaves the last good one in
force. Ends on SIGTERM or SIGINT and leaves the machine as it found it, unless told to keep, or
stopped by the service manager to be started again.
"""

import asyncio
import contextlib
import logging
import signal
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ipeql.api.control import ControlServer, runtime_directory
from ipeql.api.dbus import service
from ipeql.api.events import Events
from ipeql.backends.base import Backend
from ipeql.backends.bpf.backend import BpfBackend
from ipeql.backends.kmod.backend import KmodBackend
from ipeql.backends.tun.backend import TunBackend
from ipeql.config import SEARCH_PATH, Layers, parse_change
from ipeql.config.changes.change import in_words
from ipeql.documents import status as document
from ipeql.documents.configuration import configuration
from ipeql.documents.plan import changes
from ipeql.documents.transitions import transitions
from ipeql.errors import ConfigError, IpeqlError, NotFoundError, Problem, no_such_bundle
from ipeql.observe import Watcher, snapshot
from ipeql.reconcile import PassResult, Reconciler
from ipeql.service import journal, notify
from ipeql.service.message_ids import MessageId, of_transition
from ipeql.service.unit import is_restarting
from ipeql.state import BundleStatistics, DesiredState

RESYNC_S = 10.0
"""A pass is run at least this often, against changes that no event tells of: a stuck worker."""

RETRY_S = 1.0
"""Wait after a pass that could not even observe the machine."""


class Daemon:
    """The running daemon; the ``Manager`` that the control socket asks.

    ``keep``: asked at the end, whether the bundles are to go on without it.
    """

    def __init__(self, directories: Sequence[Path], keep: Callable[[], bool]) -> None:
        self._keep = keep
        runtime = runtime_directory()
        self._layers = Layers(directories, runtime)
        self._backends: Mapping[str, Backend] = {
            "bpf": BpfBackend(),
            "kmod": KmodBackend(),
            "tun": TunBackend(runtime, self._backend_changed),
        }
        self._reconciler = Reconciler(self._backends, snapshot, runtime)
        self._refused: tuple[Problem, ...] = ()
        self._problems: tuple[Problem, ...] = ()
        self._shown: dict[str, Any] = {}
        self._events = Events()
        self._dbus = service(self)
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._reloads: set[asyncio.Task[None]] = set()

    @property
    def _desired(self) -> DesiredState:
        return self._layers.desired

    async def run(self) -> None:
        """Serve until a signal ends it; IpeqlError where it cannot begin."""
        self._load(self._layers.load)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up)
        async with ControlServer(self), Watcher() as watcher:
            passes = asyncio.create_task(self._passes())
            watching = asyncio.create_task(self._watch(watcher))
            stopping = asyncio.create_task(self._stop.wait())
            serving = [asyncio.create_task(self._dbus.run())] if self._dbus else []
            await asyncio.wait({passes, watching, stopping}, return_when="FIRST_COMPLETED")
            notify.stopping()
            for task in (passes, watching, stopping, *serving, *self._reloads):
                task.cancel()
            outcome = await asyncio.gather(passes, watching, *serving, return_exceptions=True)
            faults = [error for error in outcome if isinstance(error, Exception)]
            try:
                if not faults and not self._keep():
                    await self._reconciler.destroy_all()
            finally:
                for backend in self._backends.values():
                    await backend.close()
            if faults:  # ours: the bundles go on, and the next daemon adopts them
                raise faults[0]

    async def describe(self) -> dict[str, Any]:
        """Return the status document."""
        observed = await self._reconciler.observe(self._desired)
        statistics: dict[str, BundleStatistics] = {}
        for name, bundle in observed.bundles.items():
            with contextlib.suppress(IpeqlError):  # gone meanwhile: its state says so
                statistics[name] = await self._backends[bundle.backend].statistics(name)
        problems = (*self._refused, *self._problems)
        return document.describe(self._desired, observed, statistics, problems, daemon=True)

    async def plan(self) -> dict[str, Any]:
        """Return what a reload would do, from the files as they are now."""
        found = await self._reconciler.plan(self._layers.read())
        return changes(found.actions, found.problems)

    async def reload(self) -> dict[str, Any]:
        """Read the files again and apply them; ConfigError: the last good ones stay in force."""
        return await self._reload(self._layers.load)

    async def apply(self) -> dict[str, Any]:
        """Run a pass now."""
        result = await self._pass()
        return changes(result.actions, result.problems)

    async def change(self, change: dict[str, Any], saved: bool = False) -> dict[str, Any]:
        """Put a transient change in force and apply it; ``saved``: a file has it from now on."""
        parsed = parse_change(change)
        if saved:
            return await self._reload(lambda: self._layers.adopt(parsed))
        self._layers.change(parsed)
        self._tell(f"transient: {in_words(parsed)}", parsed.bundle)
        return await self.apply()

    async def revert(self, bundle: str = "") -> dict[str, Any]:
        """Give up the transient changes, of one bundle where it is named, and apply that."""
        self._layers.revert(bundle)
        self._tell("transient changes given up", bundle)
        return await self.apply()

    async def show(self, bundle: str) -> dict[str, Any]:
        """Return the configuration in force of one bundle."""
        if bundle not in self._desired.bundles:
            raise NotFoundError(no_such_bundle(bundle, self._desired.bundles))
        return configuration(self._desired.bundles[bundle])

    def subscribe(self) -> AsyncGenerator[dict[str, Any], None]:
        """Return the events from now on."""
        return self._events.subscribe()

    async def _reload(self, read: Callable[[], None]) -> dict[str, Any]:
        notify.reloading()
        try:
            self._load(read)
            result = await self._pass()
        except IpeqlError as error:
            notify.ready(f"{_first_line(error)}; generation {self._desired.generation} kept")
            raise
        notify.ready(self._summary())
        return changes(result.actions, result.problems)

    def _tell(self, message: str, bundle: str = "") -> None:
        journal.event(MessageId.CONFIG_CHANGED, message, bundle=bundle)
        self._events.publish({"event": "configuration", "bundle": bundle, "message": message})

    def _load(self, read: Callable[[], None]) -> None:
        """Let ``read`` load the files; ConfigError: the last good ones stay in force."""
        try:
            read()
        except ConfigError as error:
            self._refused = error.problems
            for problem in error.problems:
                journal.problem(problem)
            self._events.publish({"event": "configuration", "message": _first_line(error)})
            if self._dbus:
                self._dbus.reloaded(self._desired.generation, [str(error)])
            self._wake.set()  # what is shown has changed
            raise
        self._refused = ()
        for problem in self._desired.problems:
            journal.problem(problem, level=logging.WARNING)
        loaded = f"generation {self._desired.generation} read"
        journal.event(MessageId.CONFIG_LOADED, loaded, level=logging.INFO)
        self._events.publish({"event": "configuration", "message": loaded})
        if self._dbus:
            self._dbus.reloaded(self._desired.generation, [])

    async def _watch(self, watcher: Watcher) -> None:
        while True:
            await watcher.changed()
            self._wake.set()

    async def _passes(self) -> None:
        started = False
        while True:
            try:
                due = (await self._pass()).requeue
                wait = min(RESYNC_S, max(0, due - time.monotonic_ns()) / 1e9) if due else RESYNC_S
            except IpeqlError as error:
                for problem in error.problems:
                    journal.problem(problem)
                wait = RETRY_S
            if not started:
                notify.ready(self._summary())
                started = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            self._wake.clear()

    async def _pass(self) -> PassResult:
        desired = self._desired
        result = await self._reconciler.run(desired)
        for action in result.actions:
            journal.event(MessageId.APPLIED, str(action), bundle=action.bundle, level=logging.INFO)
            applied = {"event": "applied", "bundle": action.bundle, "message": str(action)}
            self._events.publish(applied)
        for problem in result.problems:
            journal.problem(problem)
        self._problems = result.problems
        problems = (*self._refused, *self._problems)
        shown = document.describe(desired, result.observed, {}, problems, daemon=True)
        for change in transitions(self._shown, shown):
            well = change["new"] in ("ready", "active", "")
            spec = desired.bundles.get(change["bundle"])
            journal.event(
                of_transition(change),
                change["message"],
                bundle=change["bundle"],
                slave=change.get("slave", ""),
                method=spec.method if spec else "",
                reason=change["reason"],
                level=journal.NOTICE if well else logging.WARNING,
            )
            self._events.publish(change)
        self._shown = shown
        if self._dbus:
            self._dbus.update(shown)
        return result

    def _backend_changed(self, bundle: str, what: str) -> None:
        journal.event(MessageId.BACKEND_LOST, what, bundle=bundle, level=logging.WARNING)
        self._events.publish({"event": "backend", "bundle": bundle, "message": what})
        self._wake.set()

    def _hung_up(self) -> None:
        async def reload() -> None:
            with contextlib.suppress(IpeqlError):  # reported where it was found
                await self.reload()

        task = asyncio.create_task(reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    def _summary(self) -> str:
        bundles = self._shown.get("bundles", [])
        usable = sum(bundle["usable_slaves"] for bundle in bundles)
        slaves = sum(len(bundle["slaves"]) for bundle in bundles)
        generation = self._desired.generation
        return f"generation {generation}: {len(bundles)} bundles, {usable}/{slaves} slaves usable"


def _first_line(error: IpeqlError) -> str:
    return str(error).partition("\n")[0]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Read DIR/*.yaml instead of the search path.",
)
@click.option("--keep", is_flag=True, help="Leave the bundles running when told to end.")
@click.option(
    "--unit",
    metavar="NAME",
    default="",
    help="Leave them running when systemd restarts NAME, the unit this runs as.",
)
def main(config: Path | None, keep: bool, unit: str) -> None:
    """Keep the bundles of /etc/ipeql/*.yaml as they are configured, in the foreground.

    SIGHUP reads the files again; SIGTERM removes the bundles and ends.
    """
    journal.set_up()

    def keeps() -> bool:
        return keep or (bool(unit) and is_restarting(unit))

    try:
        asyncio.run(Daemon((config,) if config else SEARCH_PATH, keeps).run())
    except ConfigError as error:
        sys.exit(error.exit_code)
    except IpeqlError as error:
        for problem in error.problems:
            journal.problem(problem)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
