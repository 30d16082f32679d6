"""Where the command finds its daemon."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cli.command import ROOT, Daemon


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "run"
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(directory))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "IPEQL_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    return directory


@pytest.fixture
def daemon(runtime: Path) -> Iterator[Daemon]:
    served, up = Daemon(), threading.Event()
    thread = threading.Thread(
        target=lambda: asyncio.run(served.serve(runtime / "control", up)), daemon=True
    )
    thread.start()
    assert up.wait(5)
    yield served
    with contextlib.suppress(RuntimeError):
        served.loop.call_soon_threadsafe(served.stop.set)
    thread.join(5)
    assert not thread.is_alive()
