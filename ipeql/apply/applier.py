"""Does the actions of one bundle in order, or undoes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyroute2 import AsyncIPRoute

from ipeql.apply import device, slaves, tunnel, uplink
from ipeql.apply.refusal import UNDO_FAILED_HELP, explain
from ipeql.apply.slaves import SavedSlaves
from ipeql.backends import owned
from ipeql.backends.base import Backend
from ipeql.backends.receive import receiver
from ipeql.errors import Code, Problem
from ipeql.plan import (
    Action,
    AddAddress,
    AddRoute,
    AddRule,
    BindTunnel,
    ConfigureBundle,
    CreateBundle,
    DestroyBundle,
    PrepareSlave,
    Receive,
    ReleaseSlave,
    RemoveAddress,
    RemoveRoute,
    RemoveRule,
    RemoveTableRoute,
    RenameDevice,
    ReplaceRoute,
    RestoreFilter,
    SetCarrier,
    SetFilter,
    SetMark,
    SetMtu,
    SetTableRoute,
    SetTrainLimit,
    SetUp,
    undo,
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one bundle's actions: those that are ``done`` and not undone, and the problems.

    ``rolled_back``: an essential action was refused, and those before it were undone in reverse.
    The problems are then the cause, and every action that could not be undone. Otherwise they are
    those of the refused details.
    """

    done: tuple[Action, ...] = ()
    problems: tuple[Problem, ...] = ()
    rolled_back: bool = False


class Applier:
    """Does actions in the network namespace of the calling thread."""

    def __init__(self, backends: Mapping[str, Backend], saved: SavedSlaves) -> None:
        self._backends = backends
        self._saved = saved

    async def apply(self, actions: Sequence[Action]) -> Outcome:
        """Do one bundle's ``actions`` in order; for refused ones see ``Outcome``.

        A fault of ours in one action is a refusal too.
        """
        async with AsyncIPRoute() as kernel:
            done: list[Action] = []
            refused: list[Problem] = []
            for action in actions:
                try:
                    await self._perform(kernel, action)
                except Exception as error:
                    problems = explain(action, error)
                    if action.essential:
                        not_undone = await self._undo(kernel, done)
                        return Outcome(problems=(*problems, *not_undone), rolled_back=True)
                    refused += problems
                else:
                    done.append(action)
        return Outcome(tuple(done), tuple(refused))

    async def _undo(self, kernel: AsyncIPRoute, done: list[Action]) -> list[Problem]:
        problems = []
        for step in (step for action in reversed(done) for step in undo(action)):
            try:
                await self._perform(kernel, step)
            except Exception as error:
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
                await owned.remove(action.bundle)
                await receiver.remove(action.bundle)
            case DestroyBundle(backend=str(backend)):
                await self._backends[backend].destroy(action.bundle)
            case ConfigureBundle():
                await self._backends[action.backend].configure(action.bundle, action.after)
            case PrepareSlave():
                await slaves.prepare(kernel, self._saved, action)
            case SetFilter():
                slaves.set_filter(self._saved, action)
            case RestoreFilter():
                slaves.restore_filter(self._saved, action)
            case Receive():
                await self._backends[action.backend].receive(action.bundle, action.after)
            case ReleaseSlave():
                slaves.release(self._saved, action)
            case RenameDevice():
                await device.rename(kernel, action.bundle)
            case SetMtu():
                await device.change(kernel, action.bundle, mtu=action.after)
            case SetTrainLimit():
                await device.change(kernel, action.bundle, gso_max_segs=action.after)
            case SetUp():
                await device.change(kernel, action.bundle, state="up")
            case SetCarrier():
                await device.set_carrier(kernel, action.bundle, action.carrier)
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
                await self._steer(kernel, action)

    async def _steer(self, kernel: AsyncIPRoute, action: Action) -> None:
        match action:
            case SetMark():
                await uplink.set_mark(action)
            case BindTunnel():
                await tunnel.bind(kernel, action)
            case AddRule():
                await uplink.add_rule(kernel, action.rule)
            case RemoveRule():
                await uplink.remove_rule(kernel, action.rule)
            case SetTableRoute():
                await uplink.set_route(kernel, action.after)
            case RemoveTableRoute():
                await uplink.remove_route(kernel, action.route)
            case _:
                raise NotImplementedError(type(action))
