"""What a reload changes, and what it leaves alone, under 1000 packets/s of each IP version."""

import socket
from collections.abc import Iterator

import pytest
from pyroute2.netlink import rtnl

from ipeql.methods import METHODS
from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from tests.netns.bundle import (
    TWICE,
    USUAL,
    bundle,
    carries,
    configuration,
    hang_up,
    machine,
    rp_filter,
    slave,
    traffic,
    usable,
    wait_for,
)

pytestmark = pytest.mark.netns

MISSPELT = USUAL.replace("bandwidth", "bandwith", 1)
CONFIG_INVALID = 4
NOTHING = "nothing to do\n"

CHANGES = {
    "bandwidth": configuration(bundle([slave(1, "50Mbit"), slave(2)])),
    "lag": configuration(bundle([slave(1, lag="2ms"), slave(2)], "bw_lag_eq")),
    "order": configuration(bundle([slave(2), slave(1)])),
    "free": configuration(bundle([slave(1)])),
    "enslave": USUAL,
    "replace": configuration(bundle([slave(2)])),
    "stripe-unit": configuration(bundle((slave(1), slave(2)), "bw_load", "stripe-unit: packet")),
    "mtu": configuration(bundle((slave(1), slave(2)), "bw_load", "mtu: 1400")),
    "count": configuration(bundle((slave(1), slave(2)), "bw_load", "count: packets")),
    "poll-interval": configuration(bundle((slave(1), slave(2)), "bw_poll", "poll-interval: 100ms")),
    "packets-per-slave": configuration(
        bundle((slave(1), slave(2)), "round_robin", "packets-per-slave: 8")
    ),
    "queue-limit": configuration(bundle((slave(1), slave(2)), "bw_lag_eq", "queue-limit: 20ms")),
    "max-hold": configuration(bundle((slave(1), slave(2)), "bw_lag_eq", "max-hold: 100ms")),
    "receive": configuration(bundle((slave(1), slave(2)), "bw_load", "receive: slave")),
    "route": configuration(
        bundle((slave(1), slave(2)), "bw_load", "routes:", "  - {to: 192.168.40.0/24}")
    ),
}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab([None, None]) as lab:
        lab.plain_receiver()
        for link in ("eth1", "eth2"):
            lab.a.sysctl(f"net/ipv4/conf/{link}/rp_filter", "1")
        yield lab


@pytest.fixture(scope="module")
def daemon(lab: Lab) -> Iterator[Ipeqld]:
    with Ipeqld(lab.a, USUAL) as daemon:
        yield daemon


def test_every_method_loses_nothing(lab: Lab, daemon: Ipeqld) -> None:
    with traffic(lab):
        for method in METHODS.keys() - TWICE:
            daemon.reload(configuration(bundle(method=method)))
            wait_for(carries(daemon))
        assert daemon.ipeql("plan") == NOTHING


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_loses_nothing(lab: Lab, daemon: Ipeqld, change: str) -> None:
    with traffic(lab):
        daemon.reload(CHANGES[change])
        wait_for(carries(daemon))
        daemon.reload(USUAL)
        wait_for(carries(daemon, "eth1", "eth2"))


def test_hanging_up_reloads(lab: Lab, daemon: Ipeqld) -> None:
    with traffic(lab):
        hang_up(daemon, configuration(bundle([slave(1)])))
        wait_for(lambda: usable(daemon) == ["eth1"])
        hang_up(daemon, USUAL)
        wait_for(lambda: usable(daemon) == ["eth1", "eth2"])


def test_a_slave_s_filter_is_loose_only_while_the_slave_receives(lab: Lab, daemon: Ipeqld) -> None:
    with traffic(lab):
        assert rp_filter(lab, "eth2") == 1
        daemon.reload(configuration(bundle((slave(1), slave(2)), "bw_load", "receive: slave")))
        assert rp_filter(lab, "eth2") == 2
        daemon.reload(USUAL)
        wait_for(lambda: rp_filter(lab, "eth2") == 1)


def test_a_bad_file_is_refused_and_the_bundle_carries_on(lab: Lab, daemon: Ipeqld) -> None:
    with traffic(lab):
        before = machine(lab)
        daemon.write(MISSPELT)
        for verb in ("check", "reload"):
            refused = daemon.run_ipeql(verb)
            assert (refused.returncode, refused.stdout) == (CONFIG_INVALID, "")
            line, column = 7, 22
            header, source, caret, help_ = refused.stderr.splitlines()[:4]
            place = f"{daemon.config / 'lab.yaml'}:{line}:{column}: error: "
            assert header.startswith(place)
            assert header.endswith("unknown key `bandwith` [IPQ-C011]")
            assert source.index("bandwith") == caret.index("^" * len("bandwith"))
            assert "did you mean bandwidth?" in help_
        assert machine(lab) == before
        assert [problem["code"] for problem in daemon.status()["problems"]] == ["IPQ-C011"]
        daemon.reload(configuration(bundle(method="bw_load")))
        status = daemon.status()
        assert (status["problems"], status["bundles"][0]["method"]) == ([], "bw_load")


def test_a_reload_without_a_change_writes_nothing(lab: Lab, daemon: Ipeqld) -> None:
    groups = (
        rtnl.RTMGRP_LINK
        | rtnl.RTMGRP_IPV4_IFADDR
        | rtnl.RTMGRP_IPV6_IFADDR
        | rtnl.RTMGRP_IPV4_ROUTE
        | rtnl.RTMGRP_IPV6_ROUTE
        | 1 << 23  # RTNLGRP_IPV4_NETCONF
    )
    daemon.reload(USUAL)
    before = machine(lab)
    written = {path: path.stat().st_mtime_ns for path in daemon.runtime.iterdir()}
    with lab.a.call(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)) as events:
        events.bind((0, groups))
        assert daemon.ipeql("reload") == NOTHING
        events.setblocking(False)
        with pytest.raises(BlockingIOError):
            events.recv(65536)
    assert machine(lab) == before
    assert {path: path.stat().st_mtime_ns for path in daemon.runtime.iterdir()} == written
