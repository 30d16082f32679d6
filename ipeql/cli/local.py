"""The command without a daemon: reads the kernel and the dataplanes, or runs a pass.

The workers of the tun dataplane continue without the daemon. The command can read and configure
them, but only the daemon starts one.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from ipeql.api.control import runtime_directory
from ipeql.backends.base import Backend
from ipeql.backends.make import make
from ipeql.backends.sampling import sample_once
from ipeql.config.changes import naming
from ipeql.config.schema.model import Change
from ipeql.documents import status as document
from ipeql.documents.plan import plan_document
from ipeql.errors import Code, IpeqlError, NotFoundError, NotRunningError, Problem
from ipeql.observe import snapshot
from ipeql.plan import CreateBundle
from ipeql.plan import plan as make_plan
from ipeql.reconcile import Reconciler
from ipeql.state import BundleStatistics, DesiredState


def describe(desired: DesiredState) -> dict[str, Any]:
    """Return the status document."""
    return asyncio.run(_describe(desired))


def plan(desired: DesiredState) -> dict[str, Any]:
    """Return what a pass would change."""
    return asyncio.run(_plan(desired))


def by_label(desired: DesiredState, change: Change) -> Change:
    """Return the change with its slave called as its entry is, where it has one.

    IpeqlError where it may mean several.
    """
    if change.bundle not in desired.bundles:
        return change
    links, _ = asyncio.run(snapshot())
    with contextlib.suppress(NotFoundError):
        return naming.by_label(change, desired.bundles[change.bundle], links.values())
    return change


def apply(desired: DesiredState) -> dict[str, Any]:
    """Run one pass and return what it changed.

    NotRunningError: it would need a dataplane that only the daemon can start.
    """
    return asyncio.run(_apply(desired))


async def _describe(desired: DesiredState) -> dict[str, Any]:
    async with _machine() as (reconciler, backends):
        observed = await reconciler.observe(desired)
        await sample_once(backends.values())
        problems: list[Problem] = list(make_plan(desired, observed).problems)
        statistics: dict[str, BundleStatistics] = {}
        for name, bundle in observed.bundles.items():
            try:
                statistics[name] = await backends[bundle.backend].statistics(name)
            except IpeqlError as error:
                problems += error.problems
        return document.describe(desired, observed, statistics, problems, daemon=False)


async def _plan(desired: DesiredState) -> dict[str, Any]:
    async with _machine() as (reconciler, _):
        found = await reconciler.plan(desired)
        return plan_document(found.actions, found.problems)


async def _apply(desired: DesiredState) -> dict[str, Any]:
    async with _machine() as (reconciler, _):
        needed = [
            _needs_daemon(action.bundle)
            for action in (await reconciler.plan(desired)).actions
            if isinstance(action, CreateBundle) and action.backend == "tun"
        ]
        if needed:
            raise NotRunningError(needed)
        result = await reconciler.run(desired)
        return plan_document(result.actions, result.problems)


def _needs_daemon(bundle: str) -> Problem:
    return Problem(
        Code.NOT_RUNNING,
        f"{bundle}: ipeqld is not running, and only it can start the tun dataplane",
        "start it: systemctl start ipeql, or run ipeqld in the foreground",
        bundle=bundle,
    )


@contextlib.asynccontextmanager
async def _machine() -> AsyncIterator[tuple[Reconciler, Mapping[str, Backend]]]:
    backends: Mapping[str, Backend] = make(runtime_directory())
    try:
        yield Reconciler(backends, snapshot, runtime_directory()), backends
    finally:
        for backend in backends.values():
            await backend.close()
