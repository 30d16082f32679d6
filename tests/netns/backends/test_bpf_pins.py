"""Where the bpf dataplane is pinned, and what a refused or undone attachment costs: nothing."""

import errno
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from ipeql.backends.bpf import dataplane, device
from ipeql.backends.bpf.backend import BpfBackend
from ipeql.backends.bpf.dataplane import Dataplane
from ipeql.backends.ebpf import libbpf, pins
from ipeql.errors import ApplyError
from tests.netns.conftest import Namespace
from tests.netns.two_links import BUNDLE, TABLE, TWO_LINKS, bundle, listener, received, send

pytestmark = pytest.mark.netns

OF_THE_UNIT = "-all,+net_admin,+net_raw,+bpf,+perfmon"
"""The capabilities of systemd/ipeql.service. With them /proc/1/ns/net cannot be read."""


@pytest.fixture(autouse=True)
def available() -> None:
    if reason := dataplane.unavailable():
        pytest.skip(reason)


def refuse(*arguments: object) -> int:
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


def test_the_place_does_not_depend_on_capabilities() -> None:
    ask = (sys.executable, "-c", "from ipeql.backends.ebpf import pins; print(pins.directory())")
    few = ("setpriv", f"--bounding-set={OF_THE_UNIT}", f"--inh-caps={OF_THE_UNIT}")
    shown = {
        subprocess.run([*command, *ask], check=True, capture_output=True, text=True).stdout.strip()
        for command in ((), few)
    }
    assert shown == {str(pins.directory())}


def test_a_failed_upgrade_leaves_the_dataplane_that_worked(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    namespace.ip(*TWO_LINKS)

    async def body() -> None:
        backend = BpfBackend()
        with closing(listener("far1")) as first, closing(listener("far2")) as second:
            async with bundle(backend, namespace):
                monkeypatch.setattr(dataplane, "version", lambda: "another")
                assert (await backend.observe())[BUNDLE].table is None
                with monkeypatch.context() as broken:
                    broken.setattr(Dataplane, "attach", refuse)
                    with pytest.raises(ApplyError):
                        await backend.configure(BUNDLE, TABLE)
                send("10.9.0.2", 2)
                for sock in (first, second):
                    received(sock)
                await backend.configure(BUNDLE, TABLE)
                assert (await backend.observe())[BUNDLE].table == TABLE
        assert pins.pinned() == []

    namespace.run(body)


def test_programs_that_tc_removed_are_attached_again(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    namespace.ip(*TWO_LINKS)
    monkeypatch.setattr(libbpf, "attach", refuse)  # as before Linux 6.6

    async def body() -> None:
        backend = BpfBackend()
        with closing(listener("far1")) as first, closing(listener("far2")) as second:
            async with bundle(backend, namespace):
                remove = ("tc", "qdisc", "del", "dev", f"{BUNDLE}-lower", "clsact")
                subprocess.run(remove, check=True)
                assert (await backend.observe())[BUNDLE].table is None
                await backend.configure(BUNDLE, TABLE)
                assert (await backend.observe())[BUNDLE].table == TABLE
                send("10.9.0.2", 2)
                for sock in (first, second):
                    received(sock)

    namespace.run(body)


def test_nothing_is_attached_before_it_is_configured(namespace: Namespace) -> None:
    namespace.ip(*TWO_LINKS)

    async def body() -> None:
        backend = BpfBackend()
        try:
            await backend.create(BUNDLE)
            with Dataplane(pins.of(BUNDLE)) as made:
                lower = device.programmed(BUNDLE)
                assert not made.is_attached(dataplane.DEVICE, lower)
            assert (await backend.observe())[BUNDLE].table is None
        finally:
            await backend.destroy(BUNDLE)

    namespace.run(body)


def test_pins_that_would_end_with_the_command_are_not_made(namespace: Namespace) -> None:
    ask = "from ipeql.backends.bpf import dataplane; print(dataplane.unavailable())"
    inside = ("ip", "netns", "exec", namespace.name, sys.executable, "-c", ask)
    said = subprocess.run(inside, check=True, capture_output=True, text=True).stdout
    assert "nsenter --net=/run/netns/NAME" in said


def test_a_machine_without_the_bpf_file_system_is_no_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pins, "BPF_FS", tmp_path / "absent")
    assert not pins.is_private()
