"""The interpreter of plans: one bundle's actions in order, or back to where they began."""

from collections.abc import Mapping, Sequence

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ipeql.apply import device, slaves
from ipeql.apply.refusal import UNDO_FAILED_HELP, explain
from ipeql.apply.slaves import SavedSlaves
from ipeql.backends.base import Backend
from ipeql.errors import ApplyError, Code, IpeqlError, Problem
from ipeql.plan import (
    Action,
    AddAddress,
    AddRoute,
    ConfigureBundle,
    CreateBundle,
    DestroyBundle,
    PrepareSlave,
    ReleaseSlave,
    RemoveAddress,
    RemoveRoute,
    ReplaceRoute,
    SetMtu,
    SetUp,
    undo,
)

_Refused = (IpeqlError, NetlinkError, OSError)


class Applier:
    """Carry out actions in the network namespace of the calling thread."""

    def __init__(self, backends: Mapping[str, Backend], saved: SavedSlaves) -> None:
        self._backends = backends
        self._saved = saved

    async def apply(self, actions: Sequence[Action]) -> None:
        """Carry out one bundle's ``actions`` in order.

        Where one is refused, those before it are undone in reverse and ApplyError leaves: first the
        cause, then whatever could not be undone.
        """
        async with AsyncIPRoute() as kernel:
            done: list[Action] = []
            for action in actions:
                try:
                    await self._perform(kernel, action)
                except _Refused as error:
                    problems = explain(action, error)
                    raise ApplyError([*problems, *await self._undo(kernel, done)]) from error
                done.append(action)

    async def _undo(self, kernel: AsyncIPRoute, done: list[Action]) -> list[Problem]:
        problems = []
        for step in (step for action in reversed(done) for step in undo(action)):
            try:
                await self._perform(kernel, step)
            except _Refused as error:
                causes = "; ".join(problem.message for problem in explain(step, error))
                message = f"{step.bundle}: not undone: {causes}"
                problem = Problem(Code.UNDO_FAILED, message, UNDO_FAILED_HELP, bundle=step.bundle)
                problems.append(problem)
        return problems

    async def _perform(self, kernel: AsyncIPRoute, action: Action) -> None:
        match action:
            case CreateBundle():
                await self._backends[action.backend].create(action.bundle)
            case DestroyBundle(backend=None):
                await device.delete(kernel, action.bundle)
            case DestroyBundle(backend=str(backend)):
                await self._backends[backend].destroy(action.bundle)
            case ConfigureBundle():
                await self._backends[action.backend].configure(action.bundle, action.after)
            case PrepareSlave():
                await slaves.prepare(kernel, self._saved, action)
            case ReleaseSlave():
                await slaves.release(kernel, self._saved, action)
            case SetMtu():
                await device.change(kernel, action.bundle, mtu=action.after)
            case SetUp():
                await device.change(kernel, action.bundle, state="up")
            case AddAddress():
                await device.add_address(kernel, action.bundle, action.address)
            case RemoveAddress():
                await device.remove_address(kernel, action.bundle, action.address)
            case AddRoute():
                await device.add_route(kernel, action.bundle, action.route)
            case ReplaceRoute():
                await device.replace_route(kernel, action.bundle, action.after)
            case RemoveRoute():
                await device.remove_route(kernel, action.bundle, action.route)
            case _:
                raise NotImplementedError(type(action))
