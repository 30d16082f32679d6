"""How an action is taken back where an essential one after it is refused."""

from ipeql.plan.actions import (
    Action,
    ConfigureBundle,
    CreateBundle,
    DestroyBundle,
    PrepareSlave,
    ReleaseSlave,
)


def undo(action: Action) -> tuple[Action, ...]:
    """Return what restores the state from before ``action``, in order.

    Only what comes before an essential action is ever undone; see ``Action.essential``. What was
    there before is left: a device that was only revived, a slave that was enslaved already. A link
    that was set up stays up, since others may have come to use it.
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
        case _:
            return ()
