"""The undo of an action, for when an essential action after it is refused."""

from ipeql.plan.actions import (
    Action,
    AddRule,
    ConfigureBundle,
    CreateBundle,
    DestroyBundle,
    PrepareSlave,
    ReleaseSlave,
    RemoveRule,
    SetMark,
)


def undo(action: Action) -> tuple[Action, ...]:
    """Return what restores the state from before ``action``, in order.

    Only actions before an essential one are ever undone; see ``Action.essential``. A device that
    was only revived stays, and a slave that was already enslaved. A link that was set up stays up,
    because others may use it by then.
    """
    bundle = action.bundle
    match action:
        case CreateBundle(backend=backend, revive=False):
            return (DestroyBundle(bundle=bundle, backend=backend),)
        case DestroyBundle():
            return action.restore
        case ConfigureBundle(backend=backend, before=before, after=after) if before:
            return (ConfigureBundle(bundle=bundle, backend=backend, before=after, after=before),)
        case PrepareSlave(ifindex=ifindex, name=name):
            return (ReleaseSlave(bundle=bundle, ifindex=ifindex, name=name),)
        case SetMark(ifindex=ifindex, name=name, before=before, after=after):
            return (SetMark(bundle=bundle, ifindex=ifindex, name=name, before=after, after=before),)
        case AddRule(rule=rule):
            return (RemoveRule(bundle=bundle, rule=rule),)
        case _:
            return ()
