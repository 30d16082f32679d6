"""Measure a scenario: build its lab, run IPEQL in it, send one flow after the other."""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from lab.demo.figure import SECOND, SINGLE, Failover, Figure, between, rate
from lab.demo.scenarios import ACTS, CUT_BAR, CUT_METHOD, Act, Path, Scenario, capacity
from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from lab.network.traffic import TcpFlow, TcpResult

WINDOW = SECOND // 2
"""What the rate shown while a flow runs is the mean of."""

TRIES = 2
"""A processor that somebody else needed for a moment is no fault of the method."""

SETTLE = SECOND // 2
"""How long after a link has come or gone what follows counts."""
HOLD_OFF = SECOND
"""How long a link that has returned must stay before IPEQL uses it."""


class Watcher(Protocol):
    """Who follows the measuring. Either method may raise, and so ends it."""

    def now(self, scenario: Scenario, what: str, rate: float) -> None:
        """Hear of the flow that runs, about every 20 ms; ``rate`` in bit/s."""
        ...

    def done(self, scenario: Scenario, figure: Figure) -> None:
        """Hear of a figure."""
        ...


def measure(scenario: Scenario, watcher: Watcher) -> tuple[list[Figure], list[Failover]]:
    """Measure all of ``scenario``; what was built is gone when this returns or raises.

    OSError, RuntimeError or SubprocessError: the lab or IPEQL in it does not work.
    """
    run = _Run(scenario, watcher)
    watcher.now(scenario, "building the lab", 0)
    with Lab(scenario.shapes) as lab:
        lab.plain_receiver()
        figures = [run.single(lab)] if scenario.single else []
        watcher.now(scenario, "starting ipeqld", 0)
        with Ipeqld(lab.a, scenario.configuration(scenario.methods[0])) as ipeqld:
            for method in scenario.methods:
                ipeqld.reload(scenario.configuration(method))
                figures.append(run.bundle(lab, ipeqld, method))
            failovers = []
            for act in ACTS if scenario.cut else ():
                ipeqld.reload(scenario.configuration(CUT_METHOD, probe=act.silent))
                failovers.append(failover := run.failover(lab, ipeqld, act))
                figures += failover.parts
            return figures, failovers


class _Run:
    """The flows of a scenario."""

    def __init__(self, scenario: Scenario, watcher: Watcher) -> None:
        self._scenario = scenario
        self._watcher = watcher

    def single(self, lab: Lab) -> Figure:
        """Measure the best link alone, without IPEQL."""
        best = self._scenario.best
        flow = TcpFlow(
            lab, str(lab.address(lab.b, lab.names[best]).ip), seconds=self._scenario.seconds
        )
        figure = self._figure(SINGLE, self._follow(flow, SINGLE), self._scenario.paths[best])
        self._watcher.done(self._scenario, figure)
        return figure

    def bundle(self, lab: Lab, ipeqld: Ipeqld, method: str) -> Figure:
        """Measure all links with ``method``, once more when the bar is missed."""
        bar = self._scenario.bars.get(method)
        backend = _backend(ipeqld)
        for tries in range(1, TRIES + 1):
            result = self._follow(TcpFlow(lab, seconds=self._scenario.seconds), method)
            figure = self._figure(method, result, *self._scenario.paths)
            figure = replace(figure, bar=bar, tries=tries, backend=backend)
            if figure.holds:
                break
        self._watcher.done(self._scenario, figure)
        return figure

    def failover(self, lab: Lab, ipeqld: Ipeqld, act: Act) -> Failover:
        """Have the last link fail during a flow and return, once more when a bar is missed."""
        for tries in range(1, TRIES + 1):
            failover = self._failover(lab, act, tries, _backend(ipeqld))
            if all(part.holds for part in failover.parts):
                break
        for part in failover.parts:
            self._watcher.done(self._scenario, part)
        return failover

    def _failover(self, lab: Lab, act: Act, tries: int, backend: str) -> Failover:
        changes = {act.begin: False, act.end: True}
        happened = []

        def watch(now: int) -> None:
            due = next((when for when in changes if when <= now), None)
            if due is not None:
                _let(lab, act, carry=changes.pop(due))
                happened.append(now)

        flow = TcpFlow(lab, seconds=act.flow / SECOND)
        samples = self._follow(flow, f"{CUT_METHOD}, {act.parts[1]}", watch).samples
        cut, returned = happened
        every, rest = self._scenario.paths, self._scenario.paths[:-1]
        parts = (
            (act.begin // 2, cut, every),
            (cut + SETTLE, returned, rest),
            (returned + HOLD_OFF + SETTLE, act.flow, every),
        )
        figures = tuple(
            Figure(
                f"{act.title}, {CUT_METHOD}",
                " + ".join(map(str, paths)),
                what,
                rate(between(samples, start, end)),
                capacity(*paths),
                CUT_BAR,
                tries,
                backend,
            )
            for what, (start, end, paths) in zip(act.parts, parts, strict=True)
        )
        return Failover(act.title, figures, samples, cut, returned)

    def _follow(
        self, flow: TcpFlow, what: str, act: Callable[[int], None] = lambda now: None
    ) -> TcpResult:
        recent: deque[tuple[int, int]] = deque()
        for sample in flow.watch():
            recent.append(sample)
            while recent[0][0] < sample[0] - WINDOW:
                recent.popleft()
            self._watcher.now(self._scenario, what, rate(recent))
            act(sample[0])
        return flow.finish(self._scenario.warmup)

    def _figure(self, method: str, result: TcpResult, *paths: Path) -> Figure:
        return Figure(
            self._scenario.title,
            " + ".join(map(str, paths)),
            method,
            result.goodput,
            capacity(*paths),
            samples=result.samples,
        )


def _let(lab: Lab, act: Act, carry: bool) -> None:
    """Have the last link fail as ``act`` says, or carry again."""
    if act.silent:
        lab.shape(lab.names[-1], silent=not carry)
        return
    for host in (lab.a, lab.b):
        lab.set_carrier(host, lab.names[-1], carry)


def _backend(ipeqld: Ipeqld) -> str:
    return str(ipeqld.status()["bundles"][0]["backend"])
