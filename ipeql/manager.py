"""The requests that a running IPEQL answers. A request that changes something runs a pass."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ipeql import __version__
from ipeql.api.control import runtime_directory
from ipeql.api.metrics import MetricsServer
from ipeql.backends.base import Backend
from ipeql.backends.make import make
from ipeql.backends.sampling import keep_sampling
from ipeql.config import Layers, parse_change
from ipeql.config.changes.change import in_words
from ipeql.config.changes.naming import by_label
from ipeql.config.schema.model import Change
from ipeql.documents.configuration import configuration
from ipeql.documents.path import path_document
from ipeql.documents.plan import plan_document
from ipeql.documents.status import describe
from ipeql.errors import (
    Code,
    ConfigError,
    IpeqlError,
    NotFoundError,
    Problem,
    internal,
    no_such_bundle,
)
from ipeql.observe import snapshot
from ipeql.plan import Action
from ipeql.probe.channel.client import ProbeClient
from ipeql.probe.channel.tasks import tasks
from ipeql.reconcile import TURN_S, PassResult, Reconciler
from ipeql.service import journal, notify
from ipeql.state import BundleStatistics, DesiredState, ObservedState
from ipeql.telling import Telling

RESYNC_S = 10.0
"""A pass runs at least this often, because some changes make no event, such as a stuck worker."""

READY_S = 10.0
"""The start is called done after so long at the latest: what depends on it does not wait for the
last of many bundles."""

RETRY_S = 1.0
"""Wait after a pass that could not observe the machine."""


class BundleManager:
    """The ``Manager`` of ``ipeql.api.manager``: the configuration in force, and its passes.

    ``directories`` are those of the configuration; all other files are in RUNTIME_DIRECTORY.
    """

    def __init__(self, directories: Sequence[Path]) -> None:
        runtime = runtime_directory()
        self.telling = Telling()
        self._layers = Layers(directories, runtime)
        self._backends: Mapping[str, Backend] = make(runtime, self._backend_changed)
        self._probes = ProbeClient(self.wake, self._prober_ended)
        self._reconciler = Reconciler(
            self._backends, snapshot, runtime, notify.working, lambda: self._probes.paths
        )
        self._metrics = MetricsServer(self._measured, self.wake)
        self._passed = DesiredState({}), ObservedState()
        self._loaded_at = 0.0
        self._refused: tuple[Problem, ...] = ()
        self._problems: tuple[Problem, ...] = ()
        self._waiting: frozenset[str] = frozenset()
        self._wake = asyncio.Event()

    @property
    def _desired(self) -> DesiredState:
        return self._layers.desired

    def load(self) -> None:
        """Read the files for the first time, without those that have a mistake.

        ConfigError: no good file has a bundle.
        """
        self._load(self._layers.start)

    def wake(self) -> None:
        """Let a pass run soon."""
        self._wake.set()

    async def passes(self) -> None:
        """Run a pass now, whenever woken, and when one is due; tell systemd of the first.

        The first is told of when it has ended, or READY_S after it began.
        """
        late = asyncio.get_running_loop().call_later(READY_S, self._ready)
        try:
            while True:
                try:
                    due = (await self._pass()).requeue
                    left = max(0, due - time.monotonic_ns()) / 1e9 if due else RESYNC_S
                    wait = min(RESYNC_S, left)
                except IpeqlError as error:
                    for problem in error.problems:
                        journal.problem(problem)
                    wait = RETRY_S
                if not late.cancelled():
                    late.cancel()
                    self._ready()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._wake.wait()
                self._wake.clear()
        finally:
            late.cancel()

    async def sampling(self) -> None:
        """Measure rates, until cancelled."""
        await keep_sampling(self._backends.values())

    async def probing(self) -> None:
        """Keep a prober running where there is something to probe, until cancelled."""
        await self._probes.run()

    async def ping(self, bundle: str) -> dict[str, Any]:
        """Send one probe over each probed slave of a bundle now; return what became of each."""
        if bundle not in self._desired.bundles:
            raise NotFoundError(no_such_bundle(bundle, self._desired.bundles))
        return {"bundle": bundle, "slaves": await self._probes.ping(bundle)}

    async def paths(self, bundle: str) -> dict[str, Any]:
        """Return what is known now of the path of each probed slave of a bundle."""
        if bundle not in self._desired.bundles:
            raise NotFoundError(no_such_bundle(bundle, self._desired.bundles))
        found = await self._probes.look(bundle)
        return {
            "bundle": bundle,
            "time_ns": time.monotonic_ns(),
            "slaves": [
                {
                    "name": slave.name,
                    "ifindex": slave.ifindex,
                    "path": path_document(slave.probe, report),
                }
                for slave, report in found
                if slave.probe
            ],
        }

    async def close(self, *, destroy: bool) -> None:
        """Let go of the bundles; ``destroy``: remove them first."""
        try:
            await self._metrics.close()
            if destroy:
                await self._reconciler.destroy_all()
        finally:
            for backend in self._backends.values():
                await backend.close()

    async def describe(self) -> dict[str, Any]:
        """Return the status document.

        ``version`` is the daemon's. ``last_reload_s``: when files were read last, in s since 1970;
        ``last_reload_successful``: all of them were accepted.
        """
        return await self._document(self._desired, await self._reconciler.observe(self._desired))

    async def _measured(self) -> dict[str, Any]:
        """Return the status document of the last pass, with the counters and paths of now.

        The kernel's links are not read for it, so neither does a pass wait for those who measure
        nor they for a pass.
        """
        desired, observed = self._passed
        return await self._document(desired, replace(observed, paths=self._probes.paths))

    async def _document(self, desired: DesiredState, observed: ObservedState) -> dict[str, Any]:
        statistics: dict[str, BundleStatistics] = {}
        unclear: list[Problem] = []
        for name, bundle in observed.bundles.items():
            try:
                statistics[name] = await self._backends[bundle.backend].statistics(name)
            except IpeqlError as error:  # gone meanwhile: its state says so
                unclear += (each for each in error.problems if each.code is Code.INTERNAL)
            except Exception as error:
                unclear.append(internal(error, "reading the counters", name))
        problems = (*self._refused, *self._problems, *self._beside, *unclear)
        status = await asyncio.to_thread(
            describe,
            desired,
            observed,
            statistics,
            problems,
            daemon=True,
            changed_files=self._layers.changed_files(),
            waiting=self._waiting,
        )
        return status | {
            "directories": [str(each) for each in self._layers.directories],
            "version": __version__,
            "last_reload_s": self._loaded_at,
            "last_reload_successful": not self._refused,
        }

    @property
    def _beside(self) -> tuple[Problem, ...]:
        """Return the problems of what runs beside the passes."""
        return (*self._probes.problems, *self._metrics.problems)

    async def plan(self) -> dict[str, Any]:
        """Return what a reload would do, from the files as they are now."""
        found = await self._reconciler.plan(self._layers.read())
        return plan_document(found.actions, found.problems)

    async def reload(self) -> dict[str, Any]:
        """Read the files again and apply them; ConfigError: the last good ones stay in force."""
        return await self._reload(self._layers.load)

    async def apply(self) -> dict[str, Any]:
        """Run a pass now."""
        result = await self._pass()
        return plan_document(result.actions, result.problems)

    async def change(self, change: dict[str, Any], saved: bool = False) -> dict[str, Any]:
        """Put a transient change in force and apply it; ``saved``: a file has it from now on."""
        parsed = parse_change(change)
        if saved:
            return await self._reload(lambda: self._layers.adopt(parsed))
        parsed = await self._by_label(parsed)
        self._layers.change(parsed)
        self.telling.changed(f"transient: {in_words(parsed)}", parsed.bundle)
        return await self.apply()

    async def revert(self, bundle: str = "") -> dict[str, Any]:
        """Remove the transient changes, of one bundle if it is named, and apply that."""
        self._layers.revert(bundle)
        self.telling.changed("transient changes reverted", bundle)
        return await self.apply()

    async def show(self, bundle: str) -> dict[str, Any]:
        """Return the configuration in force of one bundle."""
        if bundle not in self._desired.bundles:
            raise NotFoundError(no_such_bundle(bundle, self._desired.bundles))
        return configuration(self._desired.bundles[bundle])

    def subscribe(self) -> AsyncGenerator[dict[str, Any], None]:
        """Return the events from now on."""
        return self.telling.events.subscribe()

    async def _by_label(self, change: Change) -> Change:
        spec = self._desired.bundles.get(change.bundle)
        if spec is None or change.free in [slave.label for slave in spec.slaves]:
            return change
        observed = await self._reconciler.observe(self._desired)
        return by_label(change, spec, observed.links.values())

    async def _reload(self, read: Callable[[], None]) -> dict[str, Any]:
        notify.reloading()
        try:
            self._load(read)
            result = await self._pass()
        except IpeqlError as error:
            first = str(error).partition("\n")[0]
            notify.ready(f"{first}; generation {self._desired.generation} kept")
            raise
        self._ready()
        return plan_document(result.actions, result.problems)

    def _load(self, read: Callable[[], Sequence[Problem] | None]) -> None:
        """Let ``read`` load the files; ConfigError: the last good ones stay in force.

        It may return the problems of files that it left out.
        """
        self._loaded_at = time.time()
        try:
            self._refused = tuple(read() or ())
        except ConfigError as error:
            self._refused = error.problems
            self.telling.refused(self._desired.generation, error.problems)
            self._wake.set()  # what is shown has changed
            raise
        self.telling.loaded(self._desired)
        if self._refused:
            self.telling.refused(self._desired.generation, self._refused)

    async def _pass(self) -> PassResult:
        """Run passes until every bundle has had its turn, and tell of each when it has.

        IpeqlError where one could not be run, also by a fault of ours: it is in the status until
        one has been run.
        """
        try:
            return await self._turns()
        except IpeqlError as error:
            self._problems = error.problems
            raise
        except Exception as error:
            self._problems = (internal(error, "running a pass"),)
            raise IpeqlError(self._problems) from error

    async def _turns(self) -> PassResult:
        actions: tuple[Action, ...] = ()
        while True:
            desired = self._desired
            result = await self._reconciler.run(desired, TURN_S)
            self._problems = result.problems
            self._passed = desired, result.observed
            self._metrics.listen(desired.metrics)
            problems = (*self._refused, *self._problems, *self._beside)
            self._waiting = frozenset(result.left) - result.observed.bundles.keys()
            status = describe(desired, result.observed, {}, problems, daemon=True)
            status["bundles"] = [
                bundle for bundle in status["bundles"] if bundle["name"] not in self._waiting
            ]
            told = replace(result, problems=(*result.problems, *self._beside))
            self.telling.passed(desired, told, status)
            self._probes.assign(tasks(desired, result.observed), again=bool(result.actions))
            actions += result.actions
            if not result.left:
                return replace(result, actions=actions)

    def _backend_changed(self, bundle: str, what: str) -> None:
        self.telling.backend(bundle, what)
        self._wake.set()

    def _prober_ended(self, how: str) -> None:
        self.telling.backend("", how)

    def _ready(self) -> None:
        notify.ready(self._summary())

    def _summary(self) -> str:
        bundles = self.telling.shown.get("bundles", [])
        usable = sum(bundle["usable_slaves"] for bundle in bundles)
        slaves = sum(len(bundle["slaves"]) for bundle in bundles)
        generation = self._desired.generation
        count = len(self._desired.bundles)
        return f"generation {generation}: {count} bundles, {usable}/{slaves} slaves usable"
