"""The daemon's own manager over a machine where nothing is and nothing is changed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import pytest

from ipeql.manager import BundleManager
from ipeql.plan import Plan, plan
from ipeql.reconcile import PassResult, Reconciler
from ipeql.state import DesiredState, ObservedState

FILE = """\
version: 1
bundles:
  ipeql0:
    method: bw_load
    slaves:
      - {name: eth1, bandwidth: 10Mbit}
      - {match: {name: "w*"}, bandwidth: 1Mbit}
"""
NOTHING = ObservedState(links={}, routes=frozenset(), bundles={}, capabilities={})


class Dry:
    """A reconciler that finds nothing and does nothing."""

    async def observe(self, desired: DesiredState) -> ObservedState:
        return NOTHING

    async def plan(self, desired: DesiredState) -> Plan:
        return plan(desired, NOTHING)

    async def run(self, desired: DesiredState, turn: float) -> PassResult:
        return PassResult((), plan(desired, NOTHING).problems, NOTHING, None)


@contextmanager
def manager() -> Iterator[tuple[BundleManager, Path]]:
    """Yield a manager that has read FILE, and its RUNTIME_DIRECTORY."""
    with TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        runtime = Path(directory, "run")
        patch.setenv("RUNTIME_DIRECTORY", str(runtime))
        Path(directory, "a.yaml").write_text(FILE)
        made = BundleManager([Path(directory)])
        made._reconciler = cast(Reconciler, Dry())
        made.load()
        yield made, runtime


def texts(value: Any) -> Iterator[str]:
    """Yield every text in what is answered."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from texts(key)
            yield from texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from texts(each)
