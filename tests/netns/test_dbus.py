"""The service on a system bus of its own, asked by clients of other libraries."""

import asyncio
import json
import os
import re
import select
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest

pytest.importorskip("dbus_next", reason="dbus-next is not installed")

from ipeql.api.dbus import auth
from ipeql.api.dbus._bus import Bus, Call, Reply
from ipeql.api.dbus.auth import ACTIONS
from ipeql.api.dbus.interfaces import interface
from ipeql.api.dbus.names import BUNDLE, MANAGER, ROOT, SLAVE, bundle_path, slave_path
from ipeql.api.places import EACH
from ipeql.errors import NotPermittedError
from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from tests.netns.bundle import USUAL, bundle, configuration, slave, usable, wait_for

pytestmark = pytest.mark.netns

CHECKOUT = Path(__file__).parents[2]
DBUS = CHECKOUT / "dbus"
XML = CHECKOUT / "ipeql" / "api" / "dbus"
IPEQL0 = bundle_path("ipeql0")
NOBODY = ("setpriv", "--reuid=65534", "--clear-groups")
ARGUMENTS = {"": [], "s": ["eth1"], "a{sv}": ["{}"], "sa{sv}": ["eth1", "{}"]}

# What Debian's system.conf says: calls are denied but where a service's own policy allows them.
BUS_CONFIGURATION = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <policy user="root">
    <allow own="org.freedesktop.PolicyKit1"/>
    <allow send_destination="org.freedesktop.PolicyKit1"/>
  </policy>
  <include>{policy}</include>
</busconfig>
"""


class SystemBus:
    """A dbus-daemon where ``daemon`` looks for the system bus."""

    def __init__(self, daemon: Ipeqld) -> None:
        self.address = f"unix:path={daemon.runtime}/bus"
        self.daemon = daemon
        daemon.runtime.parent.chmod(0o755)
        self._configuration = daemon.runtime / "bus.conf"
        text = BUS_CONFIGURATION.format(
            path=daemon.runtime / "bus", policy=DBUS / "org.ipeql1.conf"
        )
        self._configuration.write_text(text)

    def start(self) -> None:
        """Start the bus and wait until the daemon is on it."""
        (self.daemon.runtime / "bus").unlink(missing_ok=True)
        command = ("dbus-daemon", f"--config-file={self._configuration}", "--nofork", "--nopidfile")
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wait_for(lambda: "org.ipeql1" in self.run("busctl", "list", "--acquired").stdout)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def run(self, program: str, *arguments: str, user: tuple[str, ...] = ()) -> Any:
        """Run a client and return how it ended."""
        at = 1 if program == "gdbus" else 0  # after its verb
        address = f"--address={self.address}"
        command = (*user, program, *arguments[:at], address, *arguments[at:])
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)

    def call(
        self, path: str, method: str, *arguments: str, user: tuple[str, ...] = ()
    ) -> tuple[str, str]:
        """Call a method by GLib; return what it printed, or the name of the error and its text."""
        target = ("--dest", "org.ipeql1", "--object-path", path, "--method", method)
        done = self.run("gdbus", "call", *target, *arguments, user=user)
        found = re.match(r"Error: GDBus.Error:([\w.]+): (.*)", done.stderr, re.S)
        return (found[1], found[2]) if found else ("", done.stdout + done.stderr)

    def properties(self, path: str, name: str) -> dict[str, Any]:
        """Return all properties by sd-bus: signature and value."""
        target = ("org.ipeql1", path, "org.freedesktop.DBus.Properties", "GetAll", "s", name)
        (found,) = json.loads(self.run("busctl", "--json=short", "call", *target).stdout)["data"]
        return {key: (value["type"], value["data"]) for key, value in found.items()}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    for program in ("dbus-daemon", "busctl", "gdbus"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    with Lab([None, None]) as lab:
        yield lab


@pytest.fixture(scope="module")
def shared(lab: Lab) -> Iterator[SystemBus]:
    with Ipeqld(lab.a, USUAL) as daemon:
        bus = SystemBus(daemon)
        bus.start()
        yield bus
        bus.stop()


@pytest.fixture
def bus(shared: SystemBus) -> SystemBus:
    shared.daemon.ipeql("revert")
    shared.daemon.reload(USUAL)
    return shared


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


def changing_calls() -> Iterator[tuple[str, str, list[str]]]:
    for name, member in ACTIONS:
        path = ROOT if name == MANAGER else IPEQL0
        yield path, f"{name}.{member}", ARGUMENTS[interface(name).methods[member][0]]


def test_who_is_not_root_may_read_and_nothing_else(bus: SystemBus) -> None:
    before = bus.properties(IPEQL0, BUNDLE), bus.properties(ROOT, MANAGER)
    for path, method, arguments in changing_calls():
        error, text = bus.call(path, method, *arguments, user=NOBODY)
        assert error == "org.ipeql1.Error.NotAuthorized", (method, text)
    reading = set(interface(MANAGER).methods) - {member for _, member in ACTIONS}
    for member in reading:
        arguments = ["ipeql0"] if interface(MANAGER).methods[member][0] else []
        assert bus.call(ROOT, f"{MANAGER}.{member}", *arguments, user=NOBODY)[0] == ""
    assert bus.run("busctl", "introspect", "org.ipeql1", IPEQL0, user=NOBODY).returncode == 0
    assert (bus.properties(IPEQL0, BUNDLE), bus.properties(ROOT, MANAGER)) == before


class Polkit:
    """An authority on the bus that allows ``allowed`` and nothing else, as polkitd answers.

    ``silent``: the person whom it would ask never answers.
    """

    def __init__(self, bus: SystemBus, allowed: str = "", silent: bool = False) -> None:
        self.asked: list[list[Any]] = []
        self.taken_back: list[str] = []
        self._silent = silent
        self._address, self._allowed = bus.address, allowed
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> "Polkit":
        self._thread.start()
        assert self._up.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        bus = await Bus.connect(self._address)
        bus.serve(self._answer)
        await bus.own("org.freedesktop.PolicyKit1")
        self._up.set()
        await self._stop.wait()
        await bus.close()

    async def _answer(self, call: Call) -> Reply:
        if call.member == "CancelCheckAuthorization":
            self.taken_back += call.body
            return Reply("", [])
        self.asked.append(call.body)
        if self._silent and call.body[3]:
            await self._stop.wait()
        return Reply("(bba{ss})", [[call.body[1] == self._allowed, False, {}]])


def test_whom_polkit_allows_it_may_change_something(bus: SystemBus) -> None:
    with Polkit(bus, "org.ipeql1.set-parameters") as polkit:
        assert bus.call(IPEQL0, f"{BUNDLE}.SetMethod", "bw_load", user=NOBODY)[0] == ""
        assert bus.properties(IPEQL0, BUNDLE)["Method"] == ("s", "bw_load")
        for path, method, arguments in changing_calls():
            polkit.asked.clear()
            if ".Set" in method or method.endswith(".Revert"):
                continue
            error, _ = bus.call(path, method, *arguments, user=NOBODY)
            assert error == "org.ipeql1.Error.NotAuthorized", method
            ((kind, details), action, *_) = polkit.asked[0]
            assert kind == "system-bus-name"
            assert details["name"].startswith(":1.")
            assert f'<action id="{action}">' in (DBUS / "org.ipeql1.policy").read_text()
        polkit.asked.clear()
        assert bus.call(IPEQL0, f"{BUNDLE}.Revert")[0] == ""
        assert polkit.asked == []


def test_questions_that_nobody_answers_cost_their_user_alone(bus: SystemBus) -> None:
    question = ("busctl", "--timeout=60", f"--address={bus.address}", "call")
    reload = (*question, "org.ipeql1", ROOT, MANAGER, "Reload")
    with Polkit(bus, silent=True) as polkit:
        users = [NOBODY, ("setpriv", "--reuid=1000", "--clear-groups")]
        waiting = [
            subprocess.Popen([*user, *reload], stdout=-3, stderr=-3)
            for user in users
            for _ in range(EACH)
        ]
        try:
            wait_for(lambda: len(polkit.asked) == len(waiting), 20)
            error, _ = bus.call(ROOT, f"{MANAGER}.ListBundles", user=NOBODY)
            assert error == "org.freedesktop.DBus.Error.LimitsExceeded"
            assert bus.call(ROOT, f"{MANAGER}.Describe")[0] == ""
            assert bus.call(ROOT, f"{MANAGER}.Reload")[0] == ""
            other = ("setpriv", "--reuid=1001", "--clear-groups")
            assert bus.call(ROOT, f"{MANAGER}.ListBundles", user=other)[0] == ""
            assert all(each.poll() is None for each in waiting)
        finally:
            for each in waiting:
                each.kill()
                each.wait()


@pytest.mark.parametrize("interactive", [True, False])
def test_a_question_that_nobody_answers_is_refused_and_taken_back(
    bus: SystemBus, monkeypatch: pytest.MonkeyPatch, interactive: bool
) -> None:
    monkeypatch.setattr(auth, "PERSON_TIMEOUT_S", 0.2)

    async def ask() -> None:
        ours = await Bus.connect(bus.address)
        call = Call(":1.0", 65534, ROOT, MANAGER, "Reload", [], "", interactive)
        why = "nobody answered" if interactive else "polkit does not allow"
        with pytest.raises(NotPermittedError, match=why):
            await auth.authorise(ours, call, MANAGER)
        await ours.close()

    with Polkit(bus, silent=True) as polkit:
        asyncio.run(asyncio.wait_for(ask(), 10))
        (question,) = polkit.asked
        assert polkit.taken_back == ([question[4]] if interactive else [])


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
