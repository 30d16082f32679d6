"""Who may change something: root, and whom polkit allows it."""

import logging

from ipeql.api.dbus._bus import Bus, BusError, Call, variant
from ipeql.api.dbus.names import BUNDLE, MANAGER
from ipeql.errors import Code, NotPermittedError, Problem

ACTIONS = {
    (MANAGER, "Reload"): "org.ipeql1.reload",
    (MANAGER, "Apply"): "org.ipeql1.apply",
    (MANAGER, "Revert"): "org.ipeql1.set-parameters",
    (BUNDLE, "Enslave"): "org.ipeql1.enslave",
    (BUNDLE, "Free"): "org.ipeql1.enslave",
    (BUNDLE, "SetMethod"): "org.ipeql1.set-parameters",
    (BUNDLE, "SetParameters"): "org.ipeql1.set-parameters",
    (BUNDLE, "SetSlaveParameters"): "org.ipeql1.set-parameters",
    (BUNDLE, "Revert"): "org.ipeql1.set-parameters",
}
"""The action of polkit that a method needs."""

READING = frozenset(
    (MANAGER, member)
    for member in ("ListBundles", "GetBundleByName", "GetBundle", "Describe", "Plan")
)
"""The methods that only read. A method that is neither here nor above is refused."""

_BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
_POLKIT = (
    "org.freedesktop.PolicyKit1",
    "/org/freedesktop/PolicyKit1/Authority",
    "org.freedesktop.PolicyKit1.Authority",
)
_ALLOW_USER_INTERACTION = 1

_log = logging.getLogger(__name__)


async def authorise(bus: Bus, call: Call, interface: str) -> None:
    """Return if the caller may do this; NotPermittedError says why not.

    The bus vouches for the caller. Where there is no polkit, root alone may change something.
    Source of CheckAuthorization: polkit, docs/polkit/docbook, the interface's reference.
    """
    if (interface, call.member) in READING:
        return
    action = ACTIONS.get((interface, call.member))
    if action is None:
        message = f"{call.member} is not permitted: no action of polkit is known for it"
        raise NotPermittedError(Problem(Code.NOT_PERMITTED, message, "this is a fault of IPEQL"))
    if await _is_root(bus, call.sender):
        return
    try:
        allowed = await _ask_polkit(bus, call, action)
        why = f"polkit does not allow {action}"
    except BusError as error:
        allowed, why = False, "polkit cannot be asked, so only root may"
        _log.debug("polkit cannot be asked: %s", error)
    _log.info("%s by %s: %s", action, call.sender, "allowed" if allowed else "refused")
    if not allowed:
        message = f"{call.member} is not permitted: {why}"
        raise NotPermittedError(Problem(Code.NOT_PERMITTED, message, "call it as root"))


async def _is_root(bus: Bus, sender: str) -> bool:
    try:
        (uid,) = await bus.call((*_BUS, "GetConnectionUnixUser"), "s", [sender])
    except BusError:
        return False
    return bool(uid == 0)


async def _ask_polkit(bus: Bus, call: Call, action: str) -> bool:
    subject = ["system-bus-name", {"name": variant("s", call.sender)}]
    flags = _ALLOW_USER_INTERACTION if call.interactive else 0
    body = [subject, action, {}, flags, ""]
    (answer,) = await bus.call((*_POLKIT, "CheckAuthorization"), "(sa{sv})sa{ss}us", body)
    return bool(answer[0])
