"""A daemon that is stopped leaves nothing, whatever it or its worker was doing."""

import os
import signal
import socket
from collections.abc import Iterator

import pytest

from ipeql.backends.bpf import dataplane
from ipeql.backends.ebpf import pins
from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from tests.netns.bundle import bundle, configuration, wait_for, worker_pid

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab([None, None]) as lab:
        yield lab


@pytest.mark.parametrize(
    ("backend", "made"),
    [("bpf", "ipeql0%new"), ("bpf", "ipeql0%receive%new"), ("tun", "ipeql0%receive%new")],
)
def test_programs_that_are_being_loaded_are_removed(lab: Lab, backend: str, made: str) -> None:
    if reason := dataplane.unavailable():
        pytest.skip(reason)
    place = lab.a.call(pins.directory)
    with_links = lab.a.call(socket.if_nameindex)
    daemon = Ipeqld(lab.a, configuration(bundle(backend=backend)))
    daemon.start()
    try:
        wait_for((place / made).exists, timeout=60)
        assert daemon.stop() == 0
        assert not place.exists()
        assert lab.a.call(socket.if_nameindex) == with_links
    finally:
        daemon.__exit__(None, None, None)


def test_a_receiver_whose_worker_does_not_answer_is_removed(lab: Lab) -> None:
    place = lab.a.call(pins.directory)
    with Ipeqld(lab.a, configuration(bundle())) as daemon:
        wait_for((place / "ipeql0%receive").exists)
        worker = worker_pid(daemon)
        os.kill(worker, signal.SIGSTOP)
        try:
            assert daemon.stop() == 0
            assert not place.exists()
        finally:
            os.kill(worker, signal.SIGKILL)
