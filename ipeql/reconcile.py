"""The pass: observe, plan, apply, verify. Every wake-up runs the same one.

It is level-triggered: a pass does not depend on the event that started it, and a pass that finds no
difference changes nothing.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ipeql.apply import Applier, SavedSlaves
from ipeql.backends.base import Backend
from ipeql.errors import ApplyError, Code, Problem
from ipeql.health import SOURCES, Health, Judgement, Seen
from ipeql.observe import look
from ipeql.observe.kernel import Snapshot
from ipeql.plan import Action, Member, Plan, members, plan
from ipeql.state import (
    Capabilities,
    DesiredState,
    Link,
    ObservedBundle,
    ObservedState,
    PathReport,
    named,
)

PAUSES_S = (0.0, 0.02, 0.1, 0.5)
"""The pause before each observation of a pass; the last observation only verifies. Some changes are
visible late, such as the carrier of a slave that was set up."""

TURN_S = 2.0
"""A pass that has taken so long starts no further bundle, so that requests are answered."""

OBSERVING_SHARE = 4
"""A pass takes at least so many times as long as the observation at its start."""

FIRST_RETRY = 10**9
LAST_RETRY = 60 * 10**9
"""A bundle that failed is left alone for so long, in ns, doubling from the first to the last."""


@dataclass(frozen=True, slots=True)
class PassResult:
    """What a pass did: ``actions`` that were done and not undone, and the problems.

    ``observed``: the state after it. ``requeue``: when the next pass is due by itself, in ns of
    CLOCK_MONOTONIC, or None. ``left``: the bundles that it had no time for; another pass is due.
    """

    actions: tuple[Action, ...]
    problems: tuple[Problem, ...]
    observed: ObservedState
    requeue: int | None
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Failure:
    """What is left to do for a bundle, why, and from when (ns) the same is tried again."""

    actions: list[Action]
    problems: tuple[Problem, ...]
    delay: int
    until: int


class Reconciler:
    """Bring the machine to the desired state and keep it there, bundle by bundle.

    ``snapshot`` reads the kernel: ``observe.snapshot``, or a watcher's. ``directory`` is
    RUNTIME_DIRECTORY; ``progress`` is called for every bundle that was worked on; ``paths`` returns
    what is known of the slaves' paths, by (bundle, ifindex). Belongs to one event loop and network
    namespace; what is called meanwhile waits for its turn. Every method raises IpeqlError where the
    machine cannot be observed.
    """

    def __init__(
        self,
        backends: Mapping[str, Backend],
        snapshot: Callable[[], Awaitable[Snapshot]],
        directory: Path,
        progress: Callable[[], None] = lambda: None,
        paths: Callable[[], Mapping[tuple[str, int], PathReport]] = dict,
    ) -> None:
        self._backends = backends
        self._progress = progress
        self._paths = paths
        self._snapshot = snapshot
        self._saved = SavedSlaves(directory)
        self._applier = Applier(backends, self._saved)
        self._health = Health(SOURCES)
        self._failures: dict[str, _Failure] = {}
        self._left: tuple[str, ...] = ()
        self._lock = asyncio.Lock()

    async def observe(self, desired: DesiredState) -> ObservedState:
        """Return the observed state, with the verdicts on the slaves of ``desired``."""
        async with self._lock:
            return (await self._observe(desired))[0]

    async def plan(self, desired: DesiredState) -> Plan:
        """Return what a pass would do now."""
        return plan(desired, await self.observe(desired))

    async def run(self, desired: DesiredState, turn: float = math.inf) -> PassResult:
        """Run one pass: apply what differs, and observe again until nothing differs.

        Where a detail of a bundle is refused, the rest is applied; where something essential is,
        the bundle is rolled back. The same actions are tried again later, other actions at once.
        The other bundles are not affected. After ``turn`` s the bundles that are left wait for the
        next pass.
        """
        async with self._lock:
            applied: list[Action] = []
            rolled_back: set[str] = set()
            left: tuple[str, ...] = ()
            begun, end = time.monotonic(), math.inf
            for pause in PAUSES_S:
                await asyncio.sleep(pause)
                observed, judgement = await self._observe(desired)
                self._health = judgement.health
                wanted = plan(desired, observed)
                pending = self._pending(wanted, rolled_back)
                looked = time.monotonic()
                end = min(end, looked + max(turn, OBSERVING_SHARE * (looked - begun)))
                if not pending or left or pause == PAUSES_S[-1]:
                    break
                left = await self._work(pending, end, applied, rolled_back)
            self._left = left
            for bundle, actions in {} if left else pending.items():
                self._fail(bundle, actions, (_not_in_sync(bundle, actions),))
            failures = self._failures.values()
            problems = (problem for failure in failures for problem in failure.problems)
            due = [failure.until for failure in failures]
            due += [judgement.next_change] if judgement.next_change else []
            return PassResult(
                tuple(applied),
                (*wanted.problems, *problems),
                observed,
                min(due, default=None),
                left,
            )

    async def _work(
        self,
        pending: Mapping[str, list[Action]],
        end: float,
        applied: list[Action],
        rolled_back: set[str],
    ) -> tuple[str, ...]:
        """Apply what is pending, one bundle after the other; return the bundles left at ``end``."""
        for done, (bundle, actions) in enumerate(pending.items()):
            if done and time.monotonic() >= end:
                return tuple(pending)[done:]
            outcome = await self._applier.apply(actions)
            applied += outcome.done
            if outcome.problems:
                undone = [action for action in actions if action not in outcome.done]
                self._fail(bundle, undone, outcome.problems)
            if outcome.rolled_back:
                rolled_back.add(bundle)
            self._progress()
        return ()

    async def destroy_all(self) -> None:
        """Remove every bundle and free every slave; ApplyError names what is left."""
        self._failures.clear()
        result = await self.run(DesiredState({}))
        if result.problems:
            raise ApplyError(result.problems)

    async def _observe(self, desired: DesiredState) -> tuple[ObservedState, Judgement]:
        links, routes = await self._snapshot()
        links, policy = await look(links, desired.uplinks)
        bundles: dict[str, ObservedBundle] = {}
        for backend in self._backends.values():
            bundles |= await backend.observe()
        prepared = self._saved.prepared(links)
        paths = dict(self._paths())
        seen = _seen(members(desired, links, prepared), links, paths)
        judgement = self._health.judge(time.monotonic_ns(), seen)
        observed = ObservedState(
            links=links,
            routes=routes,
            bundles=bundles,
            capabilities=await asyncio.to_thread(self._capabilities),
            prepared=prepared,
            loosened=self._saved.loosened(),
            paths=paths,
            verdicts=judgement.verdicts,
            policy=policy,
        )
        return observed, judgement

    def _capabilities(self) -> dict[str, Capabilities]:
        """Ask every backend what it can do: the first time the kernel verifies programs for it."""
        return {name: backend.capabilities() for name, backend in self._backends.items()}

    def _pending(self, wanted: Plan, rolled_back: set[str]) -> dict[str, list[Action]]:
        """Return the actions that are due, by bundle.

        Not those of bundles that were ``rolled_back`` in this pass; what failed earlier is
        forgotten if the plan is different now. The bundles that the last pass left come first.
        """
        bundles, now = wanted.by_bundle(), time.monotonic_ns()
        self._failures = {
            bundle: failure
            for bundle, failure in self._failures.items()
            if bundle in rolled_back or failure.actions == bundles.get(bundle)
        }
        waiting = {bundle for bundle, failure in self._failures.items() if failure.until > now}
        return {
            bundle: bundles[bundle]
            for bundle in dict.fromkeys((*self._left, *bundles))
            if bundle in bundles and bundle not in waiting and bundle not in rolled_back
        }

    def _fail(self, bundle: str, actions: list[Action], problems: tuple[Problem, ...]) -> None:
        earlier = self._failures.get(bundle)
        delay = min(2 * earlier.delay, LAST_RETRY) if earlier else FIRST_RETRY
        until = time.monotonic_ns() + delay
        self._failures[bundle] = _Failure(actions, problems, delay, until)


def _seen(
    present: Mapping[str, list[Member]],
    links: Mapping[int, Link],
    paths: Mapping[tuple[str, int], PathReport],
) -> Seen:
    slaves = {bundle: [member.link for member in found] for bundle, found in present.items()}
    uplinks = {
        (bundle, member.link.ifindex): (over, named(links, over))
        for bundle, found in present.items()
        for member in found
        if (over := member.spec.over)
    }
    return Seen(slaves, paths, uplinks)


def _not_in_sync(bundle: str, actions: list[Action]) -> Problem:
    left = "; ".join(str(action) for action in actions)
    subject = f"{bundle}: " if bundle else "policy routing: "
    return Problem(
        Code.NOT_IN_SYNC,
        f"{subject}does not stay as configured; left to do: {left}",
        "look for another program that changes it back; IPEQL tries again",
        bundle=bundle,
    )
