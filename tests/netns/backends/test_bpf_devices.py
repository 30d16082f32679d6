"""What the bpf dataplane stands on: its device, and where its program is attached."""

import errno
import os
from contextlib import closing

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from ipeql.backends import owned, upper
from ipeql.backends.bpf import dataplane, device
from ipeql.backends.bpf.backend import BpfBackend
from ipeql.backends.ebpf import libbpf, pins
from tests.netns.conftest import Namespace
from tests.netns.two_links import BUNDLE, TWO_LINKS, bundle, listener, received, send

pytestmark = pytest.mark.netns


@pytest.fixture(autouse=True)
def available() -> None:
    if reason := dataplane.unavailable():
        pytest.skip(reason)


async def both_links_carry(namespace: Namespace) -> None:
    with closing(listener("far1")) as first, closing(listener("far2")) as second:
        async with bundle(BpfBackend(), namespace):
            send("10.9.0.2", 2)
            for sock in (first, second):
                assert received(sock)[:6] == bytes.fromhex("020000000002")


@pytest.mark.parametrize("kind", device.KINDS)
def test_every_kind_of_device_will_do(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    namespace.ip(*TWO_LINKS)
    create = device.create
    monkeypatch.setattr(device, "create", lambda name: create(name, (kind,)))

    async def body() -> None:
        try:
            await create("probe", (kind,))
        except NetlinkError as error:
            assert error.code == errno.EOPNOTSUPP
            return  # this kernel has none: the next kind is for it
        await owned.remove("probe")
        await both_links_carry(namespace)

    namespace.run(body)


def test_without_macvlan_the_device_stands_alone(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    namespace.ip(*TWO_LINKS)

    async def refuse(*_: object) -> int:
        raise NetlinkError(errno.EOPNOTSUPP)

    monkeypatch.setattr(upper, "put_upon", refuse)
    namespace.run(lambda: both_links_carry(namespace))


def test_before_tcx_there_is_clsact(namespace: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    namespace.ip(*TWO_LINKS)

    def refuse(*arguments: int) -> int:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(libbpf, "attach", refuse)
    namespace.run(lambda: both_links_carry(namespace))


def test_a_foreign_device_of_that_name_is_left_alone(namespace: Namespace) -> None:
    namespace.ip(f"link add {BUNDLE} type veth peer name far")

    async def body() -> None:
        backend = BpfBackend()
        with pytest.raises(Exception, match="another program's device"):
            await backend.create(BUNDLE)
        await backend.destroy(BUNDLE)
        assert owned.named(BUNDLE)
        assert pins.pinned() == []

    namespace.run(body)
