"""D-Bus refuses by default: what is neither reading nor an action is nobody's to call."""

import asyncio
import xml.etree.ElementTree as Xml
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

pytest.importorskip("dbus_next", reason="dbus-next is not installed")

from ipeql.api.dbus._bus import Bus, Call
from ipeql.api.dbus.auth import ACTIONS, READING, authorise
from ipeql.api.dbus.methods import bundle_method
from ipeql.api.dbus.names import BUNDLE, MANAGER, SLAVE
from ipeql.api.manager import Manager
from ipeql.errors import IpeqlError, NotPermittedError

XML = Path(__file__).parents[3] / "ipeql" / "api" / "dbus"
METHODS = {
    (name, method.attrib["name"])
    for name in (MANAGER, BUNDLE, SLAVE)
    for method in Xml.parse(XML / f"{name}.xml").iter("method")
}


def call(member: str, body: list[Any] | None = None) -> Call:
    fields = {"member": member, "body": body or [], "sender": ":1.1", "uid": 0}
    return cast(Call, SimpleNamespace(**fields))


def test_every_method_of_the_interfaces_reads_or_has_an_action() -> None:
    assert READING | ACTIONS.keys() == METHODS
    assert not READING & ACTIONS.keys()


@pytest.mark.parametrize("interface", [MANAGER, BUNDLE, SLAVE])
def test_any_other_method_is_refused_even_to_root(interface: str) -> None:
    with pytest.raises(NotPermittedError, match="no action"):
        asyncio.run(authorise(cast(Bus, None), call("FormatDisk"), interface))


def test_a_call_that_fits_no_method_changes_nothing() -> None:
    manager = cast(Manager, object())  # asked for anything, it has nothing
    with pytest.raises(IpeqlError, match="means nothing"):
        asyncio.run(bundle_method(manager, call("Revert", ["too", "many"]), "ipeql0"))
    with pytest.raises(IpeqlError, match="means nothing"):
        asyncio.run(bundle_method(manager, call("Unknown"), "ipeql0"))
