"""What is on the bus, from the status document, and the signals that tell of a change."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipeql.api.dbus.interfaces import interface
from ipeql.api.dbus.names import (
    BUNDLE,
    MANAGER,
    PROPERTIES,
    ROOT,
    SLAVE,
    bundle_path,
    escape,
    slave_path,
)
from ipeql.api.dbus.objects import Objects, Signal, objects, signals_between

STATUS = json.loads((Path(__file__).parents[2] / "golden" / "cli" / "status.json").read_text())


@pytest.mark.parametrize(
    ("name", "element"),
    [("ipeql0", "ipeql0"), ("eth1.5", "eth1_2e5"), ("0a", "_30a"), ("", "_"), ("ü", "_c3_bc")],
)
def test_names_are_escaped_as_systemd_does(name: str, element: str) -> None:
    assert escape(name) == element


def test_every_object_has_the_properties_of_its_interface() -> None:
    shown = objects(STATUS)
    assert {name for name, _ in shown.values()} == {MANAGER, BUNDLE, SLAVE}
    for name, properties in shown.values():
        assert properties.keys() == interface(name).properties.keys()


def test_classes_are_as_the_file_has_them() -> None:
    shown = objects(STATUS)
    assert interface(BUNDLE).properties["Classes"] == "a(ass)"
    assert shown[bundle_path("ipeql1")][1]["Classes"] == []
    classes = shown[bundle_path("ipeql0")][1]["Classes"]
    assert classes == [[["ef", "cs5", "35"], "duplicate"], [["af41"], "bw_lag_val"]]


def test_what_did_not_change_is_not_signalled() -> None:
    assert list(signals_between(objects(STATUS), objects(deepcopy(STATUS)))) == []


def test_counters_are_no_change() -> None:
    later = deepcopy(STATUS)
    later["bundles"][0]["rate_bps"] += 1
    later["bundles"][0]["slaves"][0]["packets"] += 1
    assert list(signals_between(objects(STATUS), objects(later))) == []


def test_a_slave_that_fails_is_told_once_with_its_reason() -> None:
    later = deepcopy(STATUS)
    later["bundles"][0]["slaves"][0] |= {"state": "no-carrier", "reason": "no signal on the link"}
    path = slave_path("ipeql0", "eth1")
    changed = {"State": "no-carrier", "Reason": "no signal on the link"}
    assert list(signals_between(objects(STATUS), objects(later))) == [
        Signal(path, PROPERTIES, "PropertiesChanged", [SLAVE, changed, []]),
        Signal(path, SLAVE, "SlaveStateChanged", ["active", "no-carrier", "no signal on the link"]),
    ]


def follow(seen: dict[str, tuple[str, dict[str, Any]]], signal: Signal) -> None:
    """Do what a client does that follows the signals."""
    match signal:
        case Signal(path, _, "PropertiesChanged", [_, changed, []]):
            seen[path][1].update(changed)
        case Signal(_, _, "InterfacesAdded", [path, interfaces]):
            assert path not in seen
            ((name, properties),) = interfaces.items()
            seen[path] = (name, dict(properties))
        case Signal(_, _, "InterfacesRemoved", [path, [name]]):
            assert seen.pop(path)[0] == name


@st.composite
def a_status(draw: st.DrawFn) -> dict[str, Any]:
    status: dict[str, Any] = deepcopy(STATUS)
    status["generation"] = draw(st.integers(1, 2))
    kept = [bundle for bundle in status["bundles"] if draw(st.booleans())]
    for bundle in kept:
        bundle["state"] = draw(st.sampled_from(["ready", "down"]))
        bundle["slaves"] = [slave for slave in bundle["slaves"] if draw(st.booleans())]
        for slave in bundle["slaves"]:
            slave["state"] = draw(st.sampled_from(["active", "no-carrier"]))
    return status | {"bundles": kept}


@given(before=a_status(), after=a_status())
def test_who_follows_the_signals_knows_everything(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    old: Objects = objects(before)
    new: Objects = objects(after)
    seen = {path: (name, dict(properties)) for path, (name, properties) in old.items()}
    for signal in signals_between(old, new):
        assert signal.path == ROOT or signal.path in seen
        assert signal.member in interface(signal.interface).signals
        follow(seen, signal)
    assert seen == new
