"""A fault of one backend or dataplane is a problem of its bundle; it never ends the daemon."""

import asyncio
from collections.abc import Awaitable, Callable
from ctypes import c_uint32
from pathlib import Path
from typing import Any

import pytest

from ipeql.backends.bpf import dataplane, layout
from ipeql.backends.bpf.backend import BpfBackend
from ipeql.backends.bpf.dataplane import Dataplane
from ipeql.backends.ebpf import libbpf, pins
from ipeql.errors import ApplyError, Code, IpeqlError
from ipeql.manager import BundleManager
from tests.netns.conftest import Namespace

pytestmark = pytest.mark.netns

CONFIGURATION = """\
version: 1
bundles:
  ipeql0: {method: round_robin, backend: bpf, slaves: [{name: eth1}]}
"""


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BundleManager:
    if reason := dataplane.unavailable():
        pytest.skip(reason)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    (tmp_path / "run").mkdir()
    (tmp_path / "a.yaml").write_text(CONFIGURATION)
    manager = BundleManager([tmp_path])
    manager.load()
    return manager


async def broken(*_: object) -> None:
    raise KeyError("IPEQL_A_BUNDLE_METHOD")


def run(namespace: Namespace, manager: BundleManager, body: Callable[[], Awaitable[None]]) -> None:
    """Run ``body`` beside the passes of the manager, which must not end."""
    namespace.ip("link add eth1 type veth peer name far1", "link set eth1 up", "link set far1 up")

    async def beside() -> None:
        passes = asyncio.create_task(manager.passes())
        try:
            async with asyncio.timeout(15):
                await body()
            assert not passes.done()
        finally:
            passes.cancel()
            await asyncio.gather(passes, return_exceptions=True)
            await manager.close(destroy=True)

    namespace.run(beside)


async def status(manager: BundleManager, condition: Callable[[Any], bool]) -> Any:
    """Return the status document once the condition holds of it."""
    while True:
        try:
            shown = await manager.describe()
        except IpeqlError:
            continue
        if condition(shown):
            return shown
        await asyncio.sleep(0.05)


def problems(shown: Any) -> list[Any]:
    (bundle,) = shown["bundles"]
    return [*shown["problems"], *bundle["problems"]]


def is_ready(shown: Any) -> bool:
    return [each["state"] for each in shown["bundles"]] == ["ready"] and not problems(shown)


def test_a_backend_that_fails_is_a_problem_of_its_bundle_and_tried_again(
    namespace: Namespace, manager: BundleManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(BpfBackend, "configure", broken)
            shown = await status(manager, lambda shown: bool(problems(shown)))
            (problem,) = problems(shown)
            assert (problem["code"], problem["bundle"]) == (Code.INTERNAL, "ipeql0")
            assert "KeyError" in problem["message"] and "test_faults.py" in problem["message"]
        await status(manager, is_ready)

    run(namespace, manager, body)


def test_a_pass_that_fails_is_told_and_tried_again(
    namespace: Namespace, manager: BundleManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(BpfBackend, "observe", broken)
            with pytest.raises(IpeqlError, match=Code.INTERNAL):
                await manager.apply()
            await asyncio.sleep(0.2)
        await status(manager, is_ready)

    run(namespace, manager, body)


def test_counters_that_fail_cost_only_themselves(
    namespace: Namespace, manager: BundleManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> None:
        await status(manager, is_ready)
        monkeypatch.setattr(BpfBackend, "statistics", broken)
        shown = await manager.describe()
        assert [each["name"] for each in shown["bundles"]] == ["ipeql0"]
        assert [each["code"] for each in problems(shown)] == [Code.INTERNAL]

    run(namespace, manager, body)


def test_a_pinned_document_that_cannot_be_understood_is_replaced(
    namespace: Namespace, manager: BundleManager
) -> None:
    async def body() -> None:
        await status(manager, is_ready)
        for text in (b"\xff{", b"[]", b'{"ifindex": 1}'):
            document = layout.Document()
            document.text[: len(text)] = text
            with Dataplane(pins.of("ipeql0")) as running:
                libbpf.update(running["document"], c_uint32(0), document)
            with pytest.raises(ApplyError, match=Code.INTERNAL):
                await BpfBackend().statistics("ipeql0")
            assert not await BpfBackend().sample()
            await manager.apply()
            await status(manager, is_ready)

    run(namespace, manager, body)
