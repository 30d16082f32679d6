"""The methods of the interfaces as requests to the daemon, and the names of its errors."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ipeql.api.dbus._bus import Call
from ipeql.api.dbus.names import ERROR
from ipeql.api.manager import Manager
from ipeql.errors import (
    ApplyError,
    Code,
    ConfigError,
    IpeqlError,
    NotFoundError,
    NotPermittedError,
    Problem,
    no_such_bundle,
)

_BY_CODE = {
    Code.NO_SUCH_BUNDLE: "NoSuchBundle",
    Code.NO_SUCH_SLAVE: "NoSuchSlave",
    Code.AMBIGUOUS_SLAVE: "AmbiguousSlave",
}
_BY_KIND: tuple[tuple[type[IpeqlError], str], ...] = (
    (ConfigError, "ConfigInvalid"),
    (ApplyError, "ApplyFailed"),
    (NotPermittedError, "NotAuthorized"),
)


async def manager_method(manager: Manager, call: Call, bundles: Mapping[str, str]) -> object:
    """Return the answer of a method of org.ipeql1.Manager; ``bundles``: their paths by name."""
    match call.member, call.body:
        case "ListBundles", _:
            return [[bundle, path] for bundle, path in bundles.items()]
        case "GetBundleByName", [bundle]:
            if bundle not in bundles:
                raise NotFoundError(no_such_bundle(bundle, bundles))
            return bundles[bundle]
        case "GetBundle", [bundle]:
            return json.dumps(await manager.show(bundle))
    documents: dict[str, Callable[[], Awaitable[dict[str, Any]]]] = {
        "Describe": manager.describe,
        "Plan": manager.plan,
        "Reload": manager.reload,
        "Apply": manager.apply,
        "Revert": manager.revert,
    }
    if call.member not in documents:
        raise _unknown(call)
    return json.dumps(await documents[call.member]())


async def bundle_method(manager: Manager, call: Call, bundle: str) -> object:
    """Return the answer of a method of org.ipeql1.Bundle."""
    match call.member, call.body:
        case "Enslave", [slave, parameters]:
            doing: dict[str, Any] = {"enslave": {"name": slave, **parameters}}
        case "Free", [slave]:
            doing = {"free": slave}
        case "SetMethod", [method]:
            doing = {"set": {"method": method}}
        case "SetParameters", [parameters]:
            doing = {"set": parameters}
        case "SetSlaveParameters", [slave, parameters]:
            doing = {"set-slave": {"name": slave, **parameters}}
        case "Revert", []:
            return json.dumps(await manager.revert(bundle))
        case _:
            raise _unknown(call)
    return json.dumps(await manager.change({"bundle": bundle, **doing}))


def _unknown(call: Call) -> IpeqlError:
    message = f"{call.member} with {len(call.body)} arguments means nothing here"
    return IpeqlError(Problem(Code.BAD_REQUEST, message, "introspect the object"))


def error_name(error: IpeqlError) -> str:
    """Return what an error is called on the bus."""
    kind = next((name for kind, name in _BY_KIND if isinstance(error, kind)), "Failed")
    return f"{ERROR}.{_BY_CODE.get(error.problems[0].code, kind)}"
