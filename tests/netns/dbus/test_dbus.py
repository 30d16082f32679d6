"""The service on a system bus of its own, asked by clients of other libraries."""

import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from xml.etree import ElementTree as Xml

import pytest

pytest.importorskip("dbus_next", reason="dbus-next is not installed")

from ipeql.api.dbus.interfaces import interface
from ipeql.api.dbus.names import BUNDLE, MANAGER, ROOT, SLAVE, bundle_path, slave_path
from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from tests.netns.bundle import USUAL, bundle, configuration, slave, usable, wait_for
from tests.netns.dbus.system_bus import CHECKOUT, IPEQL0, SystemBus

pytestmark = pytest.mark.netns

XML = CHECKOUT / "ipeql" / "api" / "dbus"


class Signals:
    """The signals that GLib's monitor prints, as they come."""

    def __init__(self, bus: SystemBus) -> None:
        command = ("gdbus", "monitor", "--address", bus.address, "--dest", "org.ipeql1")
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        self._text = ""
        self.expect("is owned by")

    def expect(self, text: str, timeout: float = 10) -> None:
        """Wait until ``text`` has been printed."""
        assert self._process.stdout
        deadline = time.monotonic() + timeout
        while text not in self._text:
            left = max(0.0, deadline - time.monotonic())
            assert select.select([self._process.stdout], [], [], left)[0], self._text
            self._text += os.read(self._process.stdout.fileno(), 65536).decode()

    def close(self) -> str:
        self._process.kill()
        self._process.communicate(timeout=10)
        return self._text


@contextmanager
def signals(bus: SystemBus) -> Iterator[Signals]:
    watched = Signals(bus)
    try:
        yield watched
    finally:
        watched.close()


def canonical(element: Xml.Element) -> str:
    return Xml.canonicalize(Xml.tostring(element, encoding="unicode"), strip_text=True)


@pytest.mark.parametrize(
    ("path", "name"), [(ROOT, MANAGER), (IPEQL0, BUNDLE), (slave_path("ipeql0", "eth1"), SLAVE)]
)
def test_what_is_documented_is_served(bus: SystemBus, path: str, name: str) -> None:
    documented = Xml.parse(XML / f"{name}.xml").getroot().find("interface")
    done = bus.run("busctl", "--xml-interface", "introspect", "org.ipeql1", path)
    served = Xml.fromstring(done.stdout).find(f"interface[@name='{name}']")
    assert documented is not None and served is not None
    assert canonical(served) == canonical(documented)
    types = {key: signature for key, (signature, _) in bus.properties(path, name).items()}
    assert types == dict(interface(name).properties)
    assert bus.run("busctl", "introspect", "org.ipeql1", path).returncode == 0


def test_every_object_is_found_in_every_way(bus: SystemBus) -> None:
    paths = {IPEQL0, slave_path("ipeql0", "eth1"), slave_path("ipeql0", "eth2")}
    tree = bus.run("busctl", "tree", "--list", "org.ipeql1").stdout.split()
    assert paths | {ROOT} <= set(tree)
    managed = bus.run(
        *("busctl", "--json=short", "call", "org.ipeql1", ROOT),
        *("org.freedesktop.DBus.ObjectManager", "GetManagedObjects"),
    )
    assert json.loads(managed.stdout)["data"][0].keys() == paths
    assert bus.call(ROOT, f"{MANAGER}.ListBundles") == (
        "",
        f"([('ipeql0', objectpath '{IPEQL0}')],)\n",
    )
    assert bus.call(ROOT, f"{MANAGER}.GetBundleByName", "ipeql0")[1].startswith("(objectpath")
    for method in ("Describe", "Plan"):
        assert (
            f'"schema": "ipeql-{"status" if method == "Describe" else "plan"}/1"'
            in (bus.call(ROOT, f"{MANAGER}.{method}")[1])
        )
    assert '"schema": "ipeql-bundle/1"' in bus.call(ROOT, f"{MANAGER}.GetBundle", "ipeql0")[1]


def test_changes_are_made_and_shown_as_transient(bus: SystemBus) -> None:
    bus.call(IPEQL0, f"{BUNDLE}.Free", "eth2")
    assert usable(bus.daemon) == ["eth1"]
    bus.call(IPEQL0, f"{BUNDLE}.Enslave", "eth2", "{'bandwidth': <'5Mbit'>, 'overhead': <38>}")
    wait_for(lambda: usable(bus.daemon) == ["eth1", "eth2"])
    bus.call(IPEQL0, f"{BUNDLE}.SetMethod", "bw_load")
    bus.call(IPEQL0, f"{BUNDLE}.SetParameters", "{'count': <'packets'>}")
    bus.call(IPEQL0, f"{BUNDLE}.SetSlaveParameters", "eth1", "{'bandwidth': <'20Mbit'>}")
    found = bus.properties(IPEQL0, BUNDLE)
    assert found["Method"] == ("s", "bw_load")
    assert found["Parameters"][1]["count"]["data"] == "packets"
    assert found["Transient"] == ("as", ["count", "method"])
    assert bus.properties(slave_path("ipeql0", "eth1"), SLAVE)["Bandwidth"] == ("t", 20_000_000)
    assert bus.properties(slave_path("ipeql0", "eth2"), SLAVE)["Transient"] == ("as", ["slave"])
    assert "method: bw_load  # transient\n" in bus.daemon.ipeql("show", "ipeql0")
    bus.call(IPEQL0, f"{BUNDLE}.Revert")
    assert bus.properties(IPEQL0, BUNDLE)["Method"] == ("s", "round_robin")


def test_signals_tell_what_happens(bus: SystemBus, lab: Lab) -> None:
    eth2 = slave_path("ipeql0", "eth2")
    with signals(bus) as seen:
        lab.a.run("ip", "link", "set", "eth2", "down")
        seen.expect(f"{eth2}: {SLAVE}.SlaveStateChanged ('active', 'admin-down', ")
        seen.expect(f"{IPEQL0}: org.freedesktop.DBus.Properties.PropertiesChanged ('{BUNDLE}', ")
        lab.a.run("ip", "link", "set", "eth1", "down")
        seen.expect(f"{IPEQL0}: {BUNDLE}.BundleStateChanged ('ready', 'down', ")
        lab.a.run("ip", "link", "set", "eth1", "up")
        seen.expect(f"{IPEQL0}: {BUNDLE}.BundleStateChanged ('down', 'ready', ")
        lab.a.run("ip", "link", "set", "eth2", "up")
        seen.expect(f"{eth2}: {SLAVE}.SlaveStateChanged ('hold-off', 'active', '')")
        other = bundle([slave(2)], name="ipeql1", addresses="")
        bus.daemon.reload(configuration(bundle([slave(1)]), other))
        seen.expect(f"{ROOT}: {MANAGER}.Reloaded (uint64 ")
        seen.expect(f"{ROOT}: org.freedesktop.DBus.ObjectManager.InterfacesAdded ")
        added = f"('ipeql1', objectpath '{bundle_path('ipeql1')}')"
        seen.expect(f"{ROOT}: {MANAGER}.BundleAdded {added}")
        bus.daemon.reload(USUAL)
        seen.expect(f"{ROOT}: org.freedesktop.DBus.ObjectManager.InterfacesRemoved ")
        seen.expect(f"{ROOT}: {MANAGER}.BundleRemoved {added}")
        bus.daemon.write("version: 2\n")
        bus.daemon.run_ipeql("reload")
        seen.expect("schema version 2 is not known")
        seen.expect("'Problems': <['schema version 2 is not known [IPQ-C014]']>")


def test_nothing_is_signalled_when_nothing_changes(bus: SystemBus) -> None:
    with signals(bus) as seen:
        bus.daemon.ipeql("apply")
        bus.call(ROOT, f"{MANAGER}.Apply")
        bus.daemon.ipeql("reload")
        seen.expect("'Generation'")
        text = seen.close()
    assert "ipeql1.Bundle" not in text
    assert text.count("PropertiesChanged") == 1


@pytest.mark.parametrize(
    ("path", "method", "arguments", "error"),
    [
        (ROOT, f"{MANAGER}.GetBundleByName", ["ipeql7"], "org.ipeql1.Error.NoSuchBundle"),
        (ROOT, f"{MANAGER}.GetBundle", ["ipeql7"], "org.ipeql1.Error.NoSuchBundle"),
        (IPEQL0, f"{BUNDLE}.Free", ["eth7"], "org.ipeql1.Error.NoSuchSlave"),
        (IPEQL0, f"{BUNDLE}.SetMethod", ["fast"], "org.ipeql1.Error.ConfigInvalid"),
        (IPEQL0, f"{BUNDLE}.Enslave", ["a/b", "{}"], "org.ipeql1.Error.ConfigInvalid"),
        (
            IPEQL0,
            f"{BUNDLE}.SetSlaveParameters",
            ["eth1", "{'lag': <['5ms']>}"],
            "org.ipeql1.Error.ConfigInvalid",
        ),
        (ROOT, f"{MANAGER}.Nonsense", [], "org.freedesktop.DBus.Error.UnknownMethod"),
        (ROOT, f"{BUNDLE}.Free", ["eth1"], "org.freedesktop.DBus.Error.UnknownInterface"),
        ("/org", f"{MANAGER}.Plan", [], "org.freedesktop.DBus.Error.UnknownObject"),
        (
            ROOT,
            "org.freedesktop.DBus.Properties.Get",
            [MANAGER, "Nonsense"],
            "org.freedesktop.DBus.Error.UnknownProperty",
        ),
        (
            ROOT,
            "org.freedesktop.DBus.Properties.Set",
            [MANAGER, "Version", "<'1'>"],
            "org.freedesktop.DBus.Error.PropertyReadOnly",
        ),
    ],
)
def test_errors_are_named(
    bus: SystemBus, path: str, method: str, arguments: list[str], error: str
) -> None:
    name, text = bus.call(path, method, *arguments)
    assert name == error
    assert "Traceback" not in text
    assert usable(bus.daemon) == ["eth1", "eth2"]


def test_wrong_arguments_are_refused(bus: SystemBus) -> None:
    target = ("org.ipeql1", IPEQL0, BUNDLE, "Free", "u", "3")
    assert "Free takes (s)" in bus.run("busctl", "call", *target).stderr


def test_the_bus_may_come_late_and_go_and_come_again() -> None:
    with Lab([None, None]) as lab, Ipeqld(lab.a, USUAL) as daemon:
        daemon.wait_log("not on D-Bus for now: ")
        bus = SystemBus(daemon)
        for _ in range(2):
            bus.start()
            daemon.wait_log("on D-Bus as org.ipeql1")
            assert bus.properties(IPEQL0, BUNDLE)["State"] == ("s", "ready")
            daemon.log.clear()
            bus.stop()
            daemon.wait_log("the connection to D-Bus was lost")
        assert daemon.ipeql("plan") == "nothing to do\n"
