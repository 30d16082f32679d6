"""docs/two-uplinks.md, from a machine behind home to a machine behind the server."""

import shutil
import socket
import threading
from collections.abc import Iterator

import pytest

from lab.network.host import Host
from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from tests.netns.bundle import wait_for
from tests.netns.paths import recipe as wireguard
from tests.netns.paths.recipe import FIBRE, LAN, WEB, Recipe, behind, reaches

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(
        not (shutil.which("wg-quick") and shutil.which("wireguard-go")),
        reason="needs wg-quick and wireguard-go: apt install wireguard-tools wireguard-go",
    ),
]

PORT = 8080
SERVER = wireguard.SERVER.partition("/")[0]
MUCH = 1 << 20
"""Bytes: so many that the faster uplink has a queue."""

PATIENCE_S = 30
IP_AND_TCP = 40
"""Bytes of the headers of a segment."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Have what there is before step 1, with uplinks that have a strict ``rp_filter``."""
    with Lab([]) as lab:
        wireguard.connect(lab)
        wireguard.make_strict(lab)
        yield lab


@pytest.fixture(scope="module")
def lan(lab: Lab) -> Iterator[Host]:
    with behind(lab.a, "lan", LAN) as host:
        yield host


@pytest.fixture(scope="module")
def web(lab: Lab) -> Iterator[Host]:
    with behind(lab.middle, "web", WEB) as host:
        yield host


@pytest.fixture(scope="module")
def home(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ipeqld]:
    """Go through the page."""
    recipe = Recipe(lab, tmp_path_factory.mktemp("recipe"))
    for host in (lab.b, lab.a):
        recipe.up(host)
    with Ipeqld(lab.b, recipe.server), Ipeqld(lab.a, recipe.home) as home:
        wait_for(lambda: states(home) == {"active"}, PATIENCE_S)
        yield home


def states(home: Ipeqld) -> set[str]:
    (bundle,) = home.status()["bundles"]
    return {slave["state"] for slave in bundle["slaves"]}


def sent(home: Ipeqld) -> dict[str, int]:
    """Return how many packets have gone by each tunnel."""
    (bundle,) = home.status()["bundles"]
    return {slave["name"]: slave["packets"] for slave in bundle["slaves"]}


def exchange(near: socket.socket, far: socket.socket) -> None:
    """Send much to the far end, and back; OSError where it does not arrive."""
    for sender, receiver in ((near, far), (far, near)):
        sending = threading.Thread(target=sender.sendall, args=(bytes(MUCH),))
        sending.start()
        left = MUCH
        while left:
            left -= len(receiver.recv(left))
        sending.join()


def exchange_by_both(home: Ipeqld, near: socket.socket, far: socket.socket) -> None:
    before = sent(home)

    def used() -> bool:
        exchange(near, far)
        return all(packets > before[tunnel] for tunnel, packets in sent(home).items())

    wait_for(used, PATIENCE_S)


def test_a_connection_uses_both_uplinks_and_goes_on_when_one_is_pulled(
    lab: Lab, lan: Host, web: Host, home: Ipeqld
) -> None:
    (bundle,) = home.status()["bundles"]
    assert not bundle["problems"]
    listener = web.call(lambda: socket.create_server((WEB, PORT)))
    near = lan.call(lambda: socket.create_connection((WEB, PORT), PATIENCE_S))
    far, (address, _) = listener.accept()
    with listener, near, far:
        far.settimeout(PATIENCE_S)
        assert address == SERVER
        for end in (near, far):
            segment = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
            assert segment + IP_AND_TCP <= bundle["mtu_bytes"]
        exchange_by_both(home, near, far)
        with wireguard.pulled(lab, FIBRE):
            wait_for(lambda: states(home) == {"active", "no-uplink"})
            exchange(near, far)
        wait_for(lambda: states(home) == {"active"}, PATIENCE_S)
        exchange_by_both(home, near, far)


def test_nobody_outside_reaches_the_lan(lab: Lab, lan: Host, web: Host, home: Ipeqld) -> None:
    outside = lab.middle
    outside.add_route(FIBRE.end, f"{LAN}/32", f"{FIBRE.network}.2")
    outside.add_route("server", "10.9.0.1/32", SERVER)
    assert reaches(outside, f"{FIBRE.network}.2") and reaches(outside, SERVER)
    assert reaches(lan, WEB) and reaches(lab.b, "10.9.0.1")
    assert not reaches(outside, LAN)
    assert not reaches(outside, "10.9.0.1")
    outside.run("ip", "route", "del", LAN)


def test_while_ipeql_is_stopped_the_lan_uses_the_uplinks(
    lab: Lab, lan: Host, web: Host, home: Ipeqld
) -> None:
    assert "dev ipeql0" in lab.a.run("ip", "route", "get", WEB)
    home.stop()
    assert f"dev {FIBRE.device}" in lab.a.run("ip", "route", "get", WEB)
    assert reaches(lan, WEB)
