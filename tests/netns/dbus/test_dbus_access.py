"""Who may do what by D-Bus: root, whom polkit allows, and everybody else."""

import asyncio
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("dbus_next", reason="dbus-next is not installed")

from ipeql.api.dbus import auth
from ipeql.api.dbus._bus import Bus, Call, Reply
from ipeql.api.dbus.auth import ACTIONS
from ipeql.api.dbus.interfaces import interface
from ipeql.api.dbus.names import BUNDLE, MANAGER, ROOT
from ipeql.api.places import EACH
from ipeql.errors import NotPermittedError
from tests.netns.bundle import wait_for
from tests.netns.dbus.system_bus import DBUS, IPEQL0, SystemBus

pytestmark = pytest.mark.netns

NOBODY = ("setpriv", "--reuid=65534", "--clear-groups")
ARGUMENTS = {"": [], "s": ["eth1"], "a{sv}": ["{}"], "sa{sv}": ["eth1", "{}"]}


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
