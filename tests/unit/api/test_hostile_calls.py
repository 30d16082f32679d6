"""Whatever is sent over D-Bus is answered, and the answer can be sent."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

pytest.importorskip("dbus_next", reason="dbus-next is not installed")

from dbus_next import Message, Variant
from dbus_next.constants import MessageType

from ipeql.api.dbus._bus import Bus, Call, Reply, plain
from ipeql.api.dbus.interfaces import interface
from ipeql.api.dbus.names import (
    BUNDLE,
    INTROSPECTABLE,
    MANAGER,
    OBJECT_MANAGER,
    PROPERTIES,
    ROOT,
    SLAVE,
    bundle_path,
    slave_path,
)
from ipeql.api.dbus.service import Service
from tests.unit.api import dry
from tests.unit.hostile import KEYS

IPEQL0 = bundle_path("ipeql0")
PATHS = st.sampled_from([ROOT, IPEQL0, slave_path("ipeql0", "eth1"), "/", "/org/ipeql1/bundle"])
INTERFACES = (MANAGER, BUNDLE, SLAVE, PROPERTIES, OBJECT_MANAGER, INTROSPECTABLE)

# A string on the bus is UTF-8 without zero bytes; the bus lets no other through.
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12) | KEYS.filter(
    lambda text: "\0" not in text and text.isprintable()
)
VALUES: st.SearchStrategy[Variant] = st.recursive(
    st.one_of(
        TEXT.map(lambda text: Variant("s", text)),
        st.booleans().map(lambda value: Variant("b", value)),
        st.integers(-(2**63), 2**63 - 1).map(lambda number: Variant("x", number)),
        st.integers(0, 2**64 - 1).map(lambda number: Variant("t", number)),
        st.floats().map(lambda number: Variant("d", number)),
        st.binary(max_size=4).map(lambda data: Variant("ay", data)),
        st.just(Variant("o", "/")),
        st.dictionaries(st.integers(0, 9), TEXT, max_size=2).map(lambda v: Variant("a{is}", v)),
        st.tuples(st.integers(0, 9), TEXT).map(lambda pair: Variant("(is)", list(pair))),
    ),
    lambda inner: st.one_of(
        inner.map(lambda value: Variant("v", value)),
        st.lists(inner, max_size=3).map(lambda each: Variant("av", each)),
        st.dictionaries(TEXT, inner, max_size=3).map(lambda each: Variant("a{sv}", each)),
    ),
    max_leaves=6,
)
ARGUMENT: dict[str, st.SearchStrategy[Any]] = {
    "s": TEXT | st.sampled_from(["ipeql0", "eth1", "w*", "bw_load", *INTERFACES]),
    "a{sv}": st.dictionaries(TEXT | KEYS.filter(str.isprintable), VALUES, max_size=4),
    "v": VALUES,
}
BODIES = {
    "": st.just([]),
    "s": st.tuples(ARGUMENT["s"]),
    "ss": st.tuples(ARGUMENT["s"], ARGUMENT["s"]),
    "ssv": st.tuples(ARGUMENT["s"], ARGUMENT["s"], ARGUMENT["v"]),
    "a{sv}": st.tuples(ARGUMENT["a{sv}"]),
    "sa{sv}": st.tuples(ARGUMENT["s"], ARGUMENT["a{sv}"]),
}


@st.composite
def calls(draw: st.DrawFn) -> Call:
    name = draw(st.sampled_from(INTERFACES))
    members = [*interface(name).methods, "Introspect", "Nonsense"]
    member = draw(st.sampled_from(members))
    right, _ = interface(name).methods.get(member, ("", ""))
    signature = draw(st.sampled_from([right, right, right, *BODIES]))
    body = [plain(each) for each in draw(BODIES[signature])]
    return Call(":1.9", 0, draw(PATHS), draw(st.just(name) | st.just("")), member, body, signature)


class Strict(Service):
    """A service whose faults count: a listener's do not reach the caller."""

    fault: Exception | None = None

    def update(self, status: dict[str, Any]) -> None:
        try:
            super().update(status)
        except Exception as error:
            self.fault = error


class Wire:
    """In the place of a connection: everything that is sent is made a message, and thrown away."""

    def emit(self, path: str, name: str, member: str, signature: str, body: Sequence[Any]) -> None:
        check(Message.new_signal(path, name, member, signature, list(body)))


def check(message: Message) -> None:
    message.serial = 1
    message._marshall(False)
    for text in dry.texts(plain(message.body)):
        assert "\0" not in text
        text.encode()


async def replies(asked: list[Call]) -> list[Reply]:
    with dry.manager() as (manager, _):
        service = Strict(manager)
        service._bus = cast(Bus, Wire())
        manager.telling.add(service)
        await manager.apply()
        found = [await service._answer(call) for call in asked]
        if service.fault:
            raise service.fault
        return found


BYTES = [plain(Variant("a{sv}", {"lag": Variant("ay", b"5ms")}))]
MANAGED = Call(":1.9", 0, ROOT, OBJECT_MANAGER, "GetManagedObjects", [])


@settings(deadline=None)
@example([Call(":1.9", 0, IPEQL0, BUNDLE, "SetParameters", BYTES, "a{sv}"), MANAGED])
@given(st.lists(calls(), min_size=1, max_size=6))
def test_every_call_is_answered(asked: list[Call]) -> None:
    for reply in asyncio.run(replies(asked)):
        assert not reply.error.endswith(".Internal"), reply.body
        kind = MessageType.ERROR if reply.error else MessageType.METHOD_RETURN
        content = {"signature": reply.signature, "body": reply.body, "reply_serial": 2}
        error = {"error_name": reply.error} if reply.error else {}
        check(Message(message_type=kind, destination=":1.9", **content, **error))
