"""Run in the guest by tests/vm/test_kmod.py: a module that this IPEQL does not understand."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from ipeql.backends.kmod import family, layout
from ipeql.backends.kmod.backend import KmodBackend
from ipeql.errors import ApplyError, Code
from ipeql.plan import choose_backend, plan
from ipeql.state import BundleSpec, BundleTable, DesiredState, ObservedState
from lab.network import netns
from tests.netns.conftest import Namespace

pytestmark = pytest.mark.netns

TABLE = BundleTable("round_robin")
SPEC = BundleSpec("ipeql0", "round_robin", backend="kmod")


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    namespace = Namespace()
    netns.create(namespace.name)
    yield namespace
    netns.end(namespace.name)


def test_a_module_of_another_version_is_refused_with_the_remedy(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> None:
        backend = KmodBackend()
        await backend.create("ipeql0")
        await backend.configure("ipeql0", TABLE)
        monkeypatch.setattr(family, "VERSION", family.VERSION + 1)
        assert (await backend.observe())["ipeql0"].table is None
        able = backend.capabilities()
        assert not able.available
        assert f"version {family.VERSION - 1} of its interface, not {family.VERSION}" in able.reason
        assert "modprobe ipeql" in able.reason
        other = replace(able, backend="bpf", available=True, reason="", rank=1)
        auto = replace(SPEC, backend="auto")
        both = {"kmod": able, "bpf": other}
        assert choose_backend(auto, both, running="kmod").backend == "bpf"
        assert choose_backend(SPEC, both, running="kmod").backend is None
        for refused in (backend.configure("ipeql0", TABLE), backend.statistics("ipeql0")):
            with pytest.raises(ApplyError, match="rmmod"):
                await refused
        assert not await backend.sample()
        monkeypatch.undo()
        assert (await backend.observe())["ipeql0"].table == TABLE
        assert backend.capabilities().available
        await backend.destroy("ipeql0")

    namespace.run(body)


def test_an_answer_that_cannot_be_understood_is_a_problem_of_its_bundle(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> None:
        backend = KmodBackend()
        await backend.create("ipeql0")
        await backend.configure("ipeql0", TABLE)
        monkeypatch.setattr(layout, "METHODS", ())
        found = await backend.observe()
        desired = DesiredState({"ipeql0": SPEC})
        able = {"kmod": backend.capabilities()}
        problems = plan(desired, ObservedState(bundles=found, capabilities=able)).problems
        assert [(each.code, each.bundle) for each in problems] == [(Code.INTERNAL, "ipeql0")]
        monkeypatch.setattr(layout, "_DROPS", ("NONE_SUCH",))
        with pytest.raises(ApplyError, match="cannot be understood"):
            await backend.statistics("ipeql0")
        monkeypatch.undo()
        await backend.destroy("ipeql0")

    namespace.run(body)
