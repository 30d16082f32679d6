"""Who may connect to the control socket, and who cannot keep others from it."""

import asyncio
import json
import os
import resource
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ipeql.api import control, sockets
from ipeql.api.places import EACH
from ipeql.cli import client
from tests.unit.api.serving import FakeManager, ask, request, serve


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


@pytest.mark.alone
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
