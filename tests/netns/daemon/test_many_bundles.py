"""Many bundles: they come up one by one, and nobody waits for the last of them."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipeql import manager, reconcile
from ipeql.backends.tun.backend import TunBackend
from ipeql.config import load
from ipeql.manager import BundleManager
from ipeql.observe import snapshot
from ipeql.reconcile import Reconciler
from ipeql.service import notify
from tests.netns.bundle import bundle, configuration
from tests.netns.conftest import Namespace

pytestmark = pytest.mark.netns

NAMES = tuple(f"ipeql{number}" for number in range(4))
MANY = configuration(
    *(
        bundle(
            [f"{{name: dummy{number}}}"], name=name, addresses=f"addresses: [10.9.{number}.1/24]"
        )
        for number, name in enumerate(NAMES)
    )
)


@pytest.fixture
def links(namespace: Namespace) -> Namespace:
    for number in range(len(NAMES)):
        namespace.ip(f"link add dummy{number} type veth peer name far{number}")
        namespace.ip(f"link set dummy{number} up", f"link set far{number} up")
    return namespace


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket on which the service manager hears the daemon."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listener


def heard(systemd: socket.socket) -> list[str]:
    messages: list[str] = []
    with contextlib.suppress(BlockingIOError):
        while True:
            messages += systemd.recv(4096).decode().splitlines()
    return messages


def states(daemon: BundleManager) -> list[str]:
    return [each["state"] for each in daemon.telling.shown.get("bundles", [])]


def test_a_pass_ends_with_its_turn_and_the_next_one_goes_on(
    links: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "many.yaml").write_text(MANY)
    monkeypatch.setattr(reconcile, "OBSERVING_SHARE", 0)
    progress: list[None] = []

    async def body() -> None:
        desired = load([tmp_path / "many.yaml"])
        backends = {"tun": TunBackend(tmp_path)}
        passes = Reconciler(backends, snapshot, tmp_path, lambda: progress.append(None))
        try:
            for number in range(1, len(NAMES) + 1):
                result = await passes.run(desired, turn=0)
                assert tuple(sorted(result.observed.bundles)) == NAMES[:number]
                assert result.left[: len(NAMES) - number] == NAMES[number:]
                assert not result.problems
                assert len(progress) == number
            for _ in NAMES:  # what a first look cannot see yet
                result = await passes.run(desired, turn=0)
            assert not result.left
            assert not (await passes.run(desired)).actions
        finally:
            await passes.destroy_all()

    links.run(body, 60)


def test_ready_does_not_wait_for_the_last(
    links: Namespace, systemd: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "many.yaml").write_text(MANY)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(manager, "READY_S", 0.2)
    monkeypatch.setattr(manager, "TURN_S", 0)
    monkeypatch.setattr(reconcile, "OBSERVING_SHARE", 0)
    made, create = asyncio.Event(), TunBackend.create

    async def slow(backend: TunBackend, name: str) -> None:
        if name == NAMES[2]:
            await made.wait()
        await create(backend, name)

    monkeypatch.setattr(TunBackend, "create", slow)

    async def body() -> None:
        daemon = BundleManager([tmp_path])
        daemon.load()
        passing = asyncio.create_task(daemon.passes())
        try:
            messages: list[str] = []
            while "READY=1" not in messages or states(daemon) != ["ready"] * 2:
                await asyncio.sleep(0.01)
                messages += heard(systemd)
            assert f"EXTEND_TIMEOUT_USEC={notify.EXTENSION_S}000000" in messages
            made.set()
            assert len((await daemon.apply())["actions"]) > 0
            described = await daemon.describe()
            assert {each["state"] for each in described["bundles"]} == {"ready"}
            await asyncio.sleep(0.3)
            heard(systemd)
        finally:
            passing.cancel()
            await asyncio.gather(passing, return_exceptions=True)
            await daemon.close(destroy=True)
        removed = heard(systemd)
        assert removed.count(f"EXTEND_TIMEOUT_USEC={notify.EXTENSION_S}000000") >= len(NAMES)

    links.run(body, 60)
