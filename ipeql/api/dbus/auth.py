"""Who may change something: root, and every user whom polkit allows to."""

import contextlib
import itertools
import logging
import os

from ipeql.api.dbus._bus import ANSWER_TIMEOUT_S, Bus, BusError, Call, Silence, variant
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

PERSON_TIMEOUT_S = 120.0
"""How long a person may take to answer a question of polkit."""

_POLKIT = (
    "org.freedesktop.PolicyKit1",
    "/org/freedesktop/PolicyKit1/Authority",
    "org.freedesktop.PolicyKit1.Authority",
)
_ALLOW_USER_INTERACTION = 1

_questions = itertools.count(1)

_log = logging.getLogger(__name__)


async def authorise(bus: Bus, call: Call, interface: str) -> None:
    """Return if the caller may do this; NotPermittedError says why not.

    Where there is no polkit, root alone may change something. A question that nobody answers is
    cancelled, and the change refused. Source of CheckAuthorization: polkit, docs/polkit/docbook,
    the interface's reference.
    """
    if (interface, call.member) in READING:
        return
    action = ACTIONS.get((interface, call.member))
    if action is None:
        message = f"{call.member} is not permitted: no action of polkit is known for it"
        raise NotPermittedError(Problem(Code.NOT_PERMITTED, message, "please report this bug"))
    if call.uid == 0:
        return
    try:
        allowed = await _ask_polkit(bus, call, action)
        why = f"polkit does not allow {action}"
    except Silence:
        allowed, why = False, "nobody answered the question of polkit"
    except BusError as error:
        allowed, why = False, "polkit cannot be asked, so only root may"
        _log.debug("polkit cannot be asked: %s", error)
    _log.info("%s by %s: %s", action, call.sender, "allowed" if allowed else "refused")
    if not allowed:
        message = f"{call.member} is not permitted: {why}"
        raise NotPermittedError(Problem(Code.NOT_PERMITTED, message, "call it as root"))


async def _ask_polkit(bus: Bus, call: Call, action: str) -> bool:
    subject = ["system-bus-name", {"name": variant("s", call.sender)}]
    flags = _ALLOW_USER_INTERACTION if call.interactive else 0
    question = f"ipeql-{os.getpid()}-{next(_questions)}"
    body = [subject, action, {}, flags, question]
    patience = PERSON_TIMEOUT_S if call.interactive else ANSWER_TIMEOUT_S
    try:
        (answer,) = await bus.call(
            (*_POLKIT, "CheckAuthorization"), "(sa{sv})sa{ss}us", body, patience
        )
    except Silence:
        with contextlib.suppress(BusError):
            await bus.call((*_POLKIT, "CancelCheckAuthorization"), "s", [question])
        raise
    return bool(answer[0])
