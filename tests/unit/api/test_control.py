"""The control socket, spoken to as any program on the machine could."""

import asyncio
import json
import os
import resource
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ipeql.api import control, sockets
from ipeql.api.control import ControlServer
from ipeql.api.events import Events
from ipeql.api.places import EACH
from ipeql.cli import client
from ipeql.errors import Code, ConfigError, IpeqlError, Mark, NotFoundError, Problem


class FakeManager:
    def __init__(self) -> None:
        self.events = Events()
        self.watcher_left = asyncio.Event()
        self.described: dict[str, Any] = {"bundles": []}
        self.reloads = 0
        self.hold = asyncio.Event()
        self.hold.set()

    async def describe(self) -> dict[str, Any]:
        return self.described

    async def plan(self) -> dict[str, Any]:
        raise ZeroDivisionError("a bug")

    async def reload(self) -> dict[str, Any]:
        await self.hold.wait()
        self.reloads += 1
        mark = Mark("/etc/ipeql/a.yaml", 3, 5, "    methd: bw_load", 5)
        raise ConfigError(Problem(Code.UNKNOWN_KEY, "unknown key 'methd'", "say 'method'", mark))

    async def apply(self) -> dict[str, Any]:
        return {"actions": []}

    async def change(self, change: dict[str, Any], saved: bool = False) -> dict[str, Any]:
        return {"change": change, "saved": saved}

    async def revert(self, bundle: str = "") -> dict[str, Any]:
        return {"reverted": bundle}

    async def show(self, bundle: str) -> dict[str, Any]:
        raise NotFoundError(Problem(Code.NO_SUCH_BUNDLE, f"no bundle {bundle!r}"))

    def subscribe(self) -> AsyncGenerator[dict[str, Any], None]:
        return self.watch(self.events.subscribe())

    async def watch(
        self, events: AsyncGenerator[dict[str, Any], None]
    ) -> AsyncGenerator[dict[str, Any], None]:
        try:
            async for event in events:
                yield event
        finally:
            self.watcher_left.set()


def serve(path: Path, use: Callable[[FakeManager], Awaitable[None]]) -> None:
    async def run() -> None:
        manager = FakeManager()
        async with ControlServer(manager, path), asyncio.timeout(10):
            await use(manager)

    asyncio.run(run())


async def ask(path: Path, data: bytes) -> list[dict[str, Any]]:
    """Send ``data``, close our half, and return everything that is answered."""
    reader, writer = await asyncio.open_unix_connection(str(path), limit=2**24)
    writer.write(data)
    writer.write_eof()
    answers = [json.loads(line) async for line in reader]
    writer.close()
    return answers


def request(method: str, **parameters: object) -> bytes:
    return json.dumps({"method": method, "parameters": parameters}).encode() + b"\n"


def test_requests_are_answered_in_order(tmp_path: Path) -> None:
    path = tmp_path / "run" / "control"

    async def use(manager: FakeManager) -> None:
        answers = await ask(path, request("Describe") + request("Apply") + b'{"method":"Describe"}')
        assert answers == [
            {"result": {"bundles": []}},
            {"result": {"actions": []}},
            {"result": {"bundles": []}},
        ]

    serve(path, use)
    assert not path.exists()


def test_problems_cross_the_socket_whole(tmp_path: Path) -> None:
    path = tmp_path / "control"

    async def use(manager: FakeManager) -> None:
        (answer,) = await ask(path, request("Reload"))
        assert answer["error"]["exit_code"] == 4
        (problem,) = answer["error"]["problems"]
        assert Problem.from_json(problem).render() == (
            "/etc/ipeql/a.yaml:3:5: error: unknown key 'methd' [IPQ-C011]\n"
            "    3 |     methd: bw_load\n"
            "      |     ^^^^^\n"
            "  help: say 'method'"
        )
        (answer,) = await ask(path, request("Show", bundle="ipeql7"))
        assert answer["error"]["exit_code"] == 9

    serve(path, use)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\n",
        b"{\n",
        b"\xff\xfe\x00\n",
        b"[]\n",
        b"null\n",
        b'{"method": 1}\n',
        b'{"method": "Describe", "parameters": []}\n',
        b'{"method": "Describe", "more": 1}\n',
        b'{"method": "Nonsense"}\n',
        b'{"method": "Show"}\n',
        b'{"method": "Show", "parameters": {"bundle": 3}}\n',
        b"[" * 60000 + b"\n",
        b'{"method": "Descr',
    ],
)
def test_garbage_is_refused_and_the_connection_goes_on(tmp_path: Path, garbage: bytes) -> None:
    path = tmp_path / "control"

    async def use(manager: FakeManager) -> None:
        answers = await ask(path, garbage + (request("Describe") if garbage[-1:] == b"\n" else b""))
        assert answers[0]["error"]["problems"][0]["code"] == Code.BAD_REQUEST
        assert answers[1:] in ([], [{"result": {"bundles": []}}])
        assert len(answers) == 1 + garbage.endswith(b"\n")

    serve(path, use)


def test_a_huge_line_ends_the_connection_not_the_server(tmp_path: Path) -> None:
    path = tmp_path / "control"

    async def use(manager: FakeManager) -> None:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"x" * 10_000_000)
        answer = json.loads(await reader.readline())
        assert answer["error"]["problems"][0]["code"] == Code.BAD_REQUEST
        writer.transport.abort()
        assert await ask(path, request("Describe")) == [{"result": {"bundles": []}}]

    serve(path, use)


def test_a_bug_in_the_daemon_is_an_answer(tmp_path: Path) -> None:
    path = tmp_path / "control"

    async def use(manager: FakeManager) -> None:
        broken, fine = await ask(path, request("Plan") + request("Describe"))
        assert broken["error"]["exit_code"] == 1
        assert "ZeroDivisionError" in broken["error"]["problems"][0]["message"]
        assert fine == {"result": {"bundles": []}}

    serve(path, use)


def test_monitor_streams_until_the_client_leaves(tmp_path: Path) -> None:
    path = tmp_path / "control"

    async def use(manager: FakeManager) -> None:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(request("Monitor"))
        assert json.loads(await reader.readline()) == {"result": None}
        for number in range(3):
            manager.events.publish({"event": "test", "number": number})
        for number in range(3):
            event = json.loads(await reader.readline())["event"]
            assert event == {"event": "test", "number": number}
        writer.transport.abort()
        await manager.watcher_left.wait()

    serve(path, use)


def test_a_client_that_never_reads_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "control"
    monkeypatch.setattr(control, "_WRITE_TIMEOUT_S", 0.2)

    async def use(manager: FakeManager) -> None:
        manager.described = {"bundles": ["x" * 1_000_000]}
        with socket.socket(socket.AF_UNIX) as lazy:
            lazy.connect(str(path))
            lazy.sendall(request("Describe") * 10)
            assert len(await ask(path, request("Describe"))) == 1
            lazy.setblocking(False)
            await asyncio.sleep(0.3)  # the same loop: its time-out has run out before this
            received = b""
            loop = asyncio.get_running_loop()
            while data := await loop.sock_recv(lazy, 2**20):
                received += data
            assert len(received) < 1_000_000

    serve(path, use)


def test_a_watcher_that_never_reads_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "control"
    monkeypatch.setattr(control, "_WRITE_TIMEOUT_S", 0.2)

    async def use(manager: FakeManager) -> None:
        with socket.socket(socket.AF_UNIX) as lazy:
            lazy.connect(str(path))
            lazy.sendall(request("Monitor"))
            while not manager.watcher_left.is_set():
                manager.events.publish({"event": "x" * 100_000})
                await asyncio.sleep(0.01)

    serve(path, use)


def test_closing_does_not_wait_for_watchers_in_mid_event(tmp_path: Path) -> None:
    async def once(path: Path, number: int) -> None:
        manager = FakeManager()
        async with ControlServer(manager, path):
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(request("Monitor"))
            await reader.readline()
            manager.events.publish({"event": "last"})
            for _ in range(number):
                await asyncio.sleep(0)
        writer.transport.abort()

    async def run() -> None:
        for number in range(8):
            async with asyncio.timeout(5):
                await once(tmp_path / "control", number)

    asyncio.run(run())


def test_a_client_that_vanishes_does_not_stop_its_reload(tmp_path: Path) -> None:
    path = tmp_path / "control"

    async def use(manager: FakeManager) -> None:
        manager.hold.clear()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(request("Reload"))
        await ask(path, request("Describe"))
        manager.hold.set()
        while not manager.reloads:
            await asyncio.sleep(0.01)

    serve(path, use)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become someone else")
def test_everyone_may_read_and_root_may_change(tmp_path: Path) -> None:
    path = tmp_path / "control"
    talk = (
        "import os, socket, sys; os.setgroups([]); os.setuid(65534);"
        "s = socket.socket(socket.AF_UNIX); s.connect('control');"
        "s.sendall(sys.argv[1].encode()); s.shutdown(socket.SHUT_WR);"
        "print(b''.join(iter(lambda: s.recv(65536), b'')).decode())"
    )

    async def use(manager: FakeManager) -> None:
        assert stat.S_IMODE(path.stat().st_mode) == 0o666
        tmp_path.chmod(0o711)
        child = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", talk, (request("Describe") + request("Reload")).decode()],
            stdout=subprocess.PIPE,
            cwd=tmp_path,
            check=True,
        )
        read, changed = [json.loads(line) for line in child.stdout.splitlines() if line]
        assert read == {"result": {"bundles": []}}
        assert changed["error"]["exit_code"] == 7
        assert manager.reloads == 0

    serve(path, use)


def test_two_daemons_are_an_error_and_a_dead_ones_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control"
    holder = (
        "import asyncio, sys, pathlib\n"
        "from ipeql.api.control import ControlServer\n"
        "async def main():\n"
        "    async with ControlServer(None, pathlib.Path(sys.argv[1])):\n"
        "        print('up', flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )

    async def use(manager: FakeManager) -> None:
        assert await ask(path, request("Describe")) == [{"result": {"bundles": []}}]

    with subprocess.Popen(
        [sys.executable, "-c", holder, str(path)],
        stdout=subprocess.PIPE,
        cwd=Path(control.__file__).parents[2],
    ) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == b"up\n"
            with pytest.raises(IpeqlError, match=rf"runs already.*process {other.pid}"):
                serve(path, use)
        finally:
            other.kill()
    assert path.is_socket()
    serve(path, use)


def test_events_keep_the_newest_for_a_slow_reader() -> None:
    async def run() -> None:
        events = Events()
        stream = events.subscribe()
        for number in range(1000):
            events.publish({"number": number})
        assert [(await anext(stream))["number"] for _ in range(256)] == list(range(744, 1000))

    asyncio.run(run())


def test_only_the_daemons_user_can_lock_the_next_one_out(tmp_path: Path) -> None:
    (tmp_path / "control.lock").touch(0o644)  # as an earlier version made it

    async def use(manager: FakeManager) -> None:
        assert (tmp_path / "control.lock").stat().st_mode & 0o777 == 0o600

    serve(tmp_path / "control", use)


HOLD = """
import contextlib, os, socket, sys
os.setgroups([]); os.setuid(int(sys.argv[1]))
held = [socket.socket(socket.AF_UNIX) for _ in range(int(sys.argv[2]))]
for each in held:
    each.connect('control')
    with contextlib.suppress(BrokenPipeError):
        each.sendall(b'{"method": "Describe"}\\n')
print(sum(each.recv(65536).startswith(b'{"result"') for each in held), flush=True)
sys.stdin.read()
"""


async def hold(path: Path, uid: int, count: int) -> tuple[int, asyncio.subprocess.Process]:
    """Have a user keep ``count`` connections; return how many are served, and its process."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HOLD, str(uid), str(count)), stdin=-1, stdout=-1, cwd=path.parent
    )
    assert child.stdout
    return int(await child.stdout.readline()), child


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become someone else")
def test_a_user_who_keeps_connections_hinders_himself_alone(tmp_path: Path) -> None:
    path = tmp_path / "control"

    async def use(manager: FakeManager) -> None:
        tmp_path.chmod(0o711)
        served, first = await hold(path, 65534, EACH + 50)
        assert served == EACH
        served, second = await hold(path, 1000, 2)
        assert served == 2
        assert await ask(path, request("Describe")) == [{"result": {"bundles": []}}]
        for child in (first, second):
            await child.communicate(b"")
        served, third = await hold(path, 65534, 1)
        assert served == 1
        await third.communicate(b"")

    serve(path, use)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become someone else")
def test_a_full_queue_of_connections_does_not_keep_root_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "control"
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    queue: list[socket.socket] = []

    async def use(manager: FakeManager) -> None:
        private = control.root_only(path)
        assert stat.S_IMODE(private.stat().st_mode) == 0o600
        with pytest.raises(BlockingIOError):
            while True:  # in one step of the loop: the daemon accepts none of them
                queue.append(socket.socket(socket.AF_UNIX, type=socket.SOCK_STREAM))
                queue[-1].setblocking(False)
                queue[-1].connect(str(path))
        try:
            async with asyncio.timeout(0.5):
                assert await ask(private, request("Describe")) == [{"result": {"bundles": []}}]
            assert await asyncio.to_thread(client.call, "Describe", 1) == {"bundles": []}
        finally:
            for each in queue:
                each.close()

    serve(path, use)
    assert not list(tmp_path.glob("control*.root"))


def test_no_descriptor_left_is_told_once_and_served_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "control"
    monkeypatch.setattr(sockets, "_PAUSE_S", 0.05)

    async def use(manager: FakeManager) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.socket(socket.AF_UNIX) as waiting:
            waiting.connect(str(path))
            lowest = os.dup(0)
            os.close(lowest)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
            try:
                await asyncio.sleep(0.3)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            waiting.sendall(request("Describe"))
            assert await asyncio.to_thread(waiting.recv, 100) == b'{"result": {"bundles": []}}\n'

    serve(path, use)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "Too many open files" in caplog.text
