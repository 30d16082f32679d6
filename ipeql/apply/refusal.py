"""The problem that people see when the kernel or a dataplane refuses an action."""

import errno
import os
from dataclasses import replace

from pyroute2.netlink.exceptions import NetlinkError

from ipeql.errors import Code, IpeqlError, Problem, internal
from ipeql.plan import Action, AddAddress, AddRoute, RenameDevice, SetFilter, SetMtu

UNDO_FAILED_HELP = "'ipeql plan' shows the remaining actions; 'ipeql apply' tries again"

_BY_ACTION = {
    (AddRoute, errno.EEXIST): "another route has this destination and metric; choose a 'metric'",
    (AddRoute, errno.ENETUNREACH): "'via' has to be in a subnet of the bundle's 'addresses'",
    (AddRoute, errno.EHOSTUNREACH): "'via' has to be in a subnet of the bundle's 'addresses'",
    (
        AddAddress,
        errno.EACCES,
    ): "IPv6 is disabled here: see the sysctl net.ipv6.conf.*.disable_ipv6",
    (
        RenameDevice,
        errno.EEXIST,
    ): "another interface has this name; rename that one, or the bundle",
    (AddAddress, errno.EINVAL): "an IPv6 address needs an 'mtu' of at least 1280",
    (SetMtu, errno.EINVAL): "the device does not accept this 'mtu'",
}


def explain(action: Action, error: Exception) -> tuple[Problem, ...]:
    """Return the problems that ``error`` carries, or one made of the kernel's answer."""
    if isinstance(error, IpeqlError):
        return tuple(replace(problem, bundle=action.bundle) for problem in error.problems)
    if not isinstance(error, NetlinkError | OSError):
        return (internal(error, f"applying '{action}'", action.bundle),)
    number = error.code if isinstance(error, NetlinkError) else error.errno or 0
    remedy = _BY_ACTION.get((type(action), number), "")
    if number in (errno.EPERM, errno.EACCES) and not remedy:
        remedy = "run as root, or give the service CAP_NET_ADMIN and CAP_NET_RAW"
    reason = os.strerror(number) if number else str(error)
    subject = f"{action.bundle}: " if action.bundle else ""
    message = f"{subject}cannot apply '{action}': {reason}"
    code = Code.FILTER_REFUSED if isinstance(action, SetFilter) else Code.APPLY_FAILED
    return (Problem(code, message, remedy, bundle=action.bundle),)
