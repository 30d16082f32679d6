"""The control socket, spoken to as any program on the machine could."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ipeql.api import control
from ipeql.api.control import ControlServer
from ipeql.api.events import Events
from ipeql.errors import Code, IpeqlError, Problem
from tests.unit.api.serving import FakeManager, ask, request, serve


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
