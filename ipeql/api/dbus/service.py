"""The service org.ipeql1. It connects to the bus when there is one, and again after it was lost."""

import asyncio
import logging
import os
from collections.abc import Sequence
from typing import Any

from ipeql.api.dbus._bus import Bus, BusError, Call, Reply, variant
from ipeql.api.dbus.auth import authorise
from ipeql.api.dbus.interfaces import interface, introspection
from ipeql.api.dbus.methods import bundle_method, error_name, manager_method
from ipeql.api.dbus.names import (
    BUNDLE,
    BUS_NAME,
    ERROR,
    INTROSPECTABLE,
    MANAGER,
    OBJECT_MANAGER,
    PROPERTIES,
    ROOT,
)
from ipeql.api.dbus.objects import Signal, children, objects, signals_between
from ipeql.api.manager import Manager
from ipeql.errors import IpeqlError

RETRY_S = 2.0
"""How often a bus that is not there is looked for."""

_DEFAULT_ADDRESS = "unix:path=/run/dbus/system_bus_socket"

_WITHOUT_PROPERTIES = (PROPERTIES, INTROSPECTABLE, OBJECT_MANAGER, "org.freedesktop.DBus.Peer")

_log = logging.getLogger(__name__)


class Service:
    """``manager`` on the system bus, at DBUS_SYSTEM_BUS_ADDRESS or at the standard address."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._objects = objects({})
        self._bus: Bus | None = None
        self._begun = asyncio.Event()

    async def run(self) -> None:
        """Serve from the first ``update`` on; a bus that is not there is reported once."""
        await self._begun.wait()
        address = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or _DEFAULT_ADDRESS
        reported = ""
        while True:
            try:
                await self._serve(await Bus.connect(address))
                _log.warning("the connection to D-Bus was lost")
                reported = ""
            except BusError as error:
                if str(error) != reported:
                    _log.info("not on D-Bus for now: %s", error)
                    reported = str(error)
            except Exception:
                _log.exception("the D-Bus service failed")
            await asyncio.sleep(RETRY_S)

    async def _serve(self, bus: Bus) -> None:
        try:
            bus.serve(self._answer)
            self._bus = bus
            await bus.own(BUS_NAME)
            _log.info("on D-Bus as %s", BUS_NAME)
            await bus.lost()
        finally:
            self._bus = None
            await bus.close()

    def update(self, status: dict[str, Any]) -> None:
        """Show a new status document, and send signals for what changed."""
        new = objects(status)
        signals = signals_between(self._objects, new)
        self._objects = new
        self._begun.set()
        for signal in signals:
            self._emit(signal)

    def reloaded(self, generation: int, errors: Sequence[str]) -> None:
        """Signal that the files were read; ``errors``: why they were refused."""
        self._emit(Signal(ROOT, MANAGER, "Reloaded", [generation, list(errors)]))

    def _emit(self, signal: Signal) -> None:
        if self._bus is None:
            return
        path, name, member, body = signal
        match member:
            case "PropertiesChanged":
                body = [body[0], _variants(body[0], body[1]), body[2]]
            case "InterfacesAdded":
                ((added, properties),) = body[1].items()
                body = [body[0], {added: _variants(added, properties)}]
        self._bus.emit(path, name, member, interface(name).signals[member], body)

    async def _answer(self, call: Call) -> Reply:
        try:
            return await self._dispatch(call)
        except IpeqlError as error:
            return Reply("s", [str(error)], error_name(error))
        except Exception as error:
            _log.exception("%s failed", call.member)
            return Reply("s", [f"internal error in ipeqld: {error!r}"], f"{ERROR}.Internal")

    async def _dispatch(self, call: Call) -> Reply:
        if call.member == "Introspect" and call.interface in (INTROSPECTABLE, ""):
            return self._introspect(call)
        if call.path not in self._objects:
            return _unknown("UnknownObject", f"no such object: {call.path}")
        own = self._objects[call.path][0]
        names = [own, PROPERTIES, *([OBJECT_MANAGER] if call.path == ROOT else [])]
        for name in names:
            methods = interface(name).methods
            if call.interface in (name, "") and call.member in methods:
                wanted, returned = methods[call.member]
                if call.signature != wanted:
                    return _unknown("InvalidArgs", f"{call.member} takes ({wanted})")
                if name == PROPERTIES:
                    return self._properties(call, own)
                return Reply(returned, [await self._method(call, name)])
        if call.interface in (*names, ""):
            return _unknown("UnknownMethod", f"no such method: {call.member}")
        return _unknown("UnknownInterface", f"no such interface here: {call.interface}")

    def _introspect(self, call: Call) -> Reply:
        below = children(self._objects, call.path.rstrip("/"))
        if call.path not in self._objects and not below:
            return _unknown("UnknownObject", f"no such object: {call.path}")
        names = [self._objects[call.path][0]] if call.path in self._objects else []
        names += [OBJECT_MANAGER] if call.path == ROOT else []
        return Reply("s", [introspection(names, below)])

    def _properties(self, call: Call, own: str) -> Reply:
        properties = self._objects[call.path][1]
        if call.member == "GetAll" and call.body[0] in _WITHOUT_PROPERTIES:
            return Reply("a{sv}", [{}])
        if call.body[0] not in (own, ""):
            return _unknown("UnknownInterface", f"no such interface here: {call.body[0]}")
        match call.member, call.body:
            case "GetAll", _:
                return Reply("a{sv}", [_variants(own, properties)])
            case "Get", [_, name] if name in properties:
                return Reply("v", [_variants(own, properties)[name]])
            case "Set", [_, name, _] if name in properties:
                return _unknown("PropertyReadOnly", f"{name} is changed by methods alone")
        return _unknown("UnknownProperty", f"no such property: {call.body[1]}")

    async def _method(self, call: Call, name: str) -> object:
        shown = self._objects  # a bundle may be gone when polkit has answered
        if name == OBJECT_MANAGER:
            return {
                path: {own: _variants(own, properties)}
                for path, (own, properties) in shown.items()
                if path != ROOT
            }
        assert self._bus is not None
        await authorise(self._bus, call, name)
        if name == MANAGER:
            bundles = {value["Name"]: path for path, (own, value) in shown.items() if own == BUNDLE}
            return await manager_method(self._manager, call, bundles)
        return await bundle_method(self._manager, call, shown[call.path][1]["Name"])


def _variants(name: str, properties: Any) -> dict[str, Any]:
    types = interface(name).properties
    return {key: variant(types[key], value) for key, value in properties.items()}


def _unknown(error: str, text: str) -> Reply:
    return Reply("s", [text], f"org.freedesktop.DBus.Error.{error}")
