"""What the service manager hears, on a real datagram socket."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipeql.service import notify


@pytest.fixture(params=["path", "abstract"])
def manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@ipeql-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0"))
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield listener


def heard(manager: socket.socket) -> list[str]:
    return manager.recv(4096).decode().split("\n")


def test_the_life_of_a_daemon(manager: socket.socket) -> None:
    notify.ready("generation 1: 1 bundle")
    assert heard(manager) == ["READY=1", "STATUS=generation 1: 1 bundle"]
    notify.reloading()
    reloading, since, status = heard(manager)
    assert (reloading, status) == ("RELOADING=1", "STATUS=Reloading")
    assert since.startswith("MONOTONIC_USEC=")
    assert int(since.partition("=")[2]) > 0
    notify.status("two\nlines")
    assert heard(manager) == ["STATUS=two lines"]
    notify.stopping()
    assert heard(manager) == ["STOPPING=1"]


@pytest.mark.parametrize("address", ["", "/nowhere/notify", "@ipeql-nobody", "vsock:2:1", "x"])
def test_nobody_listening_is_no_fault(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify.ready("fine")
