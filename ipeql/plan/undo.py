"""How each action is taken back."""

from ipeql.plan.actions import (
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
)


def undo(action: Action) -> tuple[Action, ...]:
    """Return what restores the state from before ``action``, in order.

    What was there before is left: a device that was only revived, a slave that was enslaved
    already. A device set up stays up.
    """
    bundle = action.bundle
    match action:
        case CreateBundle(backend=backend, revive=False):
            return (DestroyBundle(bundle=bundle, backend=backend),)
        case DestroyBundle():
            return action.restore
        case ConfigureBundle(backend=backend, before=before, after=after) if before:
            return (ConfigureBundle(bundle=bundle, backend=backend, before=after, after=before),)
        case PrepareSlave(ifindex=ifindex, name=name, new=True, up=up):
            return (ReleaseSlave(bundle=bundle, ifindex=ifindex, name=name, down=up),)
        case ReleaseSlave(ifindex=ifindex, name=name):
            return (PrepareSlave(bundle=bundle, ifindex=ifindex, name=name, rp_filter=2),)
        case SetMtu(before=before, after=after) if before:
            return (SetMtu(bundle=bundle, before=after, after=before),)
        case AddAddress(address=address):
            return (RemoveAddress(bundle=bundle, address=address),)
        case RemoveAddress(address=address):
            return (AddAddress(bundle=bundle, address=address),)
        case AddRoute(route=route):
            return (RemoveRoute(bundle=bundle, route=route),)
        case ReplaceRoute(before=before_route, after=after_route):
            return (ReplaceRoute(bundle=bundle, before=after_route, after=before_route),)
        case RemoveRoute(route=route):
            return (AddRoute(bundle=bundle, route=route),)
        case _:
            return ()
