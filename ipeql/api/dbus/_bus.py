"""The only module that imports the D-Bus library.

The services of dbus-next do not pass the caller to a method, send the signals of ObjectManager from
the wrong object, and send tracebacks to callers. So IPEQL uses the library only to carry messages.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from dbus_next import Message, Variant
from dbus_next.aio import MessageBus
from dbus_next.constants import MessageFlag, MessageType, NameFlag, RequestNameReply

from ipeql.api.places import EACH, Places

CONNECT_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 10.0

BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
"""Destination, path and interface of the bus itself."""

_log = logging.getLogger(__name__)


class Call(NamedTuple):
    """A call of one of our methods; the bus guarantees ``sender`` and its ``uid``.

    ``interactive``: the caller can wait while a person is asked.
    """

    sender: str
    uid: int
    path: str
    interface: str
    member: str
    body: list[Any]
    signature: str = ""
    interactive: bool = False


class Reply(NamedTuple):
    """The answer to a call; ``error`` names one, and ``body`` is then its text."""

    signature: str
    body: list[Any]
    error: str = ""


class BusError(Exception):
    """The bus, or a peer on it, refused a request; the text has the reason."""


class Silence(BusError):
    """A peer on the bus did not answer in time."""


class Bus:
    """A connection to a bus; ``connect`` makes one. BusError where it is lost."""

    def __init__(self, bus: Any) -> None:
        self._bus = bus
        self._calls: set[asyncio.Task[None]] = set()
        self._asked: set[asyncio.Task[Any]] = set()
        self._places = Places()

    @classmethod
    async def connect(cls, address: str) -> "Bus":
        """Return a connection to the bus at ``address``; BusError: there is none."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                return cls(await MessageBus(bus_address=address).connect())
        except Exception as error:  # the library passes on exceptions of any kind
            raise BusError(f"{address}: {error or type(error).__name__}") from error

    async def own(self, name: str) -> None:
        """Take a name; BusError: another has it, or the bus does not allow it."""
        try:
            taken = await self._bus.request_name(name, NameFlag.DO_NOT_QUEUE)
        except Exception as error:
            raise BusError(f"{name}: {error}") from error
        if taken is not RequestNameReply.PRIMARY_OWNER:
            raise BusError(f"{name}: another process has this name")

    def serve(self, answer: Callable[[Call], Awaitable[Reply]]) -> None:
        """Have ``answer`` answer the calls that come in, of each user no more than it has places.

        A call is dropped if its sender has left before its uid is known.
        """

        def handle(message: Any) -> bool:
            if message.message_type is not MessageType.METHOD_CALL:
                return False
            if message.interface == "org.freedesktop.DBus.Peer":
                return False  # the library answers
            task = asyncio.ensure_future(self._admit(message, answer))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
            return True

        self._bus.add_message_handler(handle)

    async def call(
        self,
        to: tuple[str, str, str, str],
        signature: str = "",
        body: Sequence[object] = (),
        timeout: float = ANSWER_TIMEOUT_S,
    ) -> list[Any]:
        """Call ``to`` (destination, path, interface, member) and return the body of its reply.

        Silence: no reply within ``timeout`` s. The library fails at a reply to a cancelled call, so
        the call is not cancelled.
        """
        try:
            message = Message(*to, signature=signature, body=list(body))
            asked = asyncio.ensure_future(self._bus.call(message))
            self._asked.add(asked)
            asked.add_done_callback(self._heard)
            reply = await asyncio.wait_for(asyncio.shield(asked), timeout)
        except TimeoutError:
            raise Silence(f"{to[0]} did not answer within {timeout:g} s") from None
        except Exception as error:
            raise BusError(str(error)) from error
        if reply.message_type is MessageType.ERROR:
            raise BusError(f"{reply.error_name}: {reply.body[0] if reply.body else ''}")
        return [plain(value) for value in reply.body]

    def emit(
        self, path: str, interface: str, member: str, signature: str, body: Sequence[object]
    ) -> None:
        """Send a signal from the object at ``path``."""
        self._send(Message.new_signal, path, interface, member, signature, list(body))

    async def lost(self) -> None:
        """Return when the connection is lost."""
        with contextlib.suppress(Exception):
            await self._bus.wait_for_disconnect()

    async def close(self) -> None:
        """End the connection and what is being answered."""
        for task in self._calls:
            task.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        self._bus.disconnect()
        for asked in self._asked:
            asked.cancel()

    def _heard(self, asked: asyncio.Task[Any]) -> None:
        self._asked.discard(asked)
        if not asked.cancelled():
            asked.exception()  # already raised to the waiting caller, if there is one

    async def _admit(self, message: Any, answer: Callable[[Call], Awaitable[Reply]]) -> None:
        try:
            (uid,) = await self.call((*BUS, "GetConnectionUnixUser"), "s", [message.sender])
        except BusError as error:
            _log.debug("%s is dropped: %s", message.member, error)
            return
        if not self._places.take(uid):
            text = f"a user may have {EACH} calls at a time"
            self._send(
                Message.new_error, message, "org.freedesktop.DBus.Error.LimitsExceeded", text
            )
            return
        try:
            await self._answer(message, uid, answer)
        finally:
            self._places.free(uid)

    async def _answer(
        self, message: Any, uid: int, answer: Callable[[Call], Awaitable[Reply]]
    ) -> None:
        interactive = bool(message.flags & MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION)
        body = [plain(value) for value in message.body]
        what = (message.path, message.interface or "", message.member)
        reply = await answer(Call(message.sender, uid, *what, body, message.signature, interactive))
        if message.flags & MessageFlag.NO_REPLY_EXPECTED:
            return
        if reply.error:
            self._send(Message.new_error, message, reply.error, reply.body[0])
        else:
            self._send(Message.new_method_return, message, reply.signature, reply.body)

    def _send(self, make: Callable[..., Any], *content: object) -> None:
        try:
            self._bus.send(make(*content))
        except Exception:
            _log.exception("a message of D-Bus could not be sent")


def plain(value: Any) -> Any:
    """Return ``value`` in JSON's types, without those that D-Bus wraps around it."""
    if isinstance(value, Variant):
        return plain(value.value)
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | bytes) else value


def typed(signature: str, value: Any) -> Any:
    """Return ``value`` as the library wants it for ``signature``: wrapped where that says ``v``."""
    if signature == "v":
        return value if isinstance(value, Variant) else Variant(_signature(value), value)
    if signature == "a{sv}":
        return {key: typed("v", each) for key, each in value.items()}
    return value


def variant(signature: str, value: Any) -> Any:
    """Return ``value`` as a variant of that signature."""
    return Variant(signature, typed(signature, value))


def _signature(value: object) -> str:
    match value:
        case bool():
            return "b"
        case int():
            return "x"
        case list():
            return "as"
        case dict():
            return "a{sv}"
    return "s"
