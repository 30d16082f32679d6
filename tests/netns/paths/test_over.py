"""A tunnel leaves by the uplink that ``over`` names, whatever becomes of uplinks and routes."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from ipeql.state import FIRST_MARK
from lab.network import ipeqld
from lab.network.hosts import Lab
from lab.network.ipeqld import Ipeqld
from tests.netns.bundle import bundle, configuration, wait_for
from tests.netns.paths import recipe as wireguard
from tests.netns.paths.recipe import FIBRE, LTE, UPLINKS, Recipe, Uplink

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(
        not (shutil.which("wg-quick") and shutil.which("wireguard-go")),
        reason="needs wg-quick and wireguard-go: apt install wireguard-tools wireguard-go",
    ),
]

COUNTED = "table inet counted {{ {} }}"
COUNTER = """
counter {name} {{ }}
chain {name} {{
    type filter hook forward priority 10;
    iifname "{uplink.end}" udp dport {tunnel.port} counter name {name}
}}
"""
"""Counts the packets of a tunnel that have left by an uplink."""

LINK_LOCAL = re.compile(r"\b(fe80|ff00):")
"""What the kernel has by itself, and another of for a device that is made anew."""

HOME = configuration(
    bundle(
        [f"{{name: {uplink.tunnel}, over: {uplink.device}}}" for uplink in UPLINKS],
        "round_robin",
        "routes: [{to: default, metric: 50}]",
    )
)
WITHOUT = re.sub(r", over: \w+", "", HOME)
SERVER = configuration(
    bundle(
        [f"{{name: {uplink.tunnel}}}" for uplink in UPLINKS],
        addresses='addresses: [10.9.0.2/24, "fd00:9::2/64"]',
    )
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Have both tunnels up, a bundle at the server, and what others have at home."""
    with Lab([]) as lab, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ipeqld, "START_TIMEOUT_S", 20.0)
        wireguard.connect(lab)
        recipe = Recipe(lab, tmp_path_factory.mktemp("recipe"))
        for host in (lab.a, lab.b):
            recipe.up(host)
        counters = "".join(
            COUNTER.format(name=counter(tunnel, uplink), uplink=uplink, tunnel=tunnel)
            for tunnel in UPLINKS
            for uplink in UPLINKS
        )
        lab.middle.call(
            lambda: subprocess.run(
                ["nft", "-f", "-"], input=COUNTED.format(counters), text=True, check=True
            )
        )
        ip(lab, "rule add pref 5000 fwmark 0x77 lookup 77 protocol 98")
        ip(lab, "route add unreachable default table 77 protocol 98")
        ip(lab, "-6 rule add pref 5001 fwmark 0/0xff0000 lookup main")
        with Ipeqld(lab.b, SERVER):
            yield lab


def counter(tunnel: Uplink, uplink: Uplink) -> str:
    return f"{tunnel.name}_by_{uplink.name}"


def ip(lab: Lab, command: str) -> str:
    return lab.a.run("ip", *command.split())


def left(lab: Lab) -> dict[str, int]:
    """Return how many packets of each tunnel have left by each uplink."""
    listed = json.loads(lab.middle.run("nft", "-j", "list", "counters"))["nftables"]
    counters = [each["counter"] for each in listed if "counter" in each]
    return {each["name"]: each["packets"] for each in counters}


def policy(lab: Lab) -> dict[str, object]:
    """Return all that IPEQL may touch of home's routing, and the marks."""
    queries = ("rule", "-6 rule", "route show table all", "-6 route show table all")
    shown: dict[str, object] = {
        query: sorted(line for line in ip(lab, query).splitlines() if not LINK_LOCAL.search(line))
        for query in queries
    }
    return shown | {"marks": lab.a.run("wg", "show", "all", "fwmark")}


def table(lab: Lab, uplink: Uplink, family: str = "") -> list[str]:
    """Return the routes of a tunnel's table, the default routes only."""
    mark = lab.a.run("wg", "show", uplink.tunnel, "fwmark").strip()
    routes = ip(lab, f"{family} route show table {mark} default").splitlines()
    return [re.sub(r" (proto|metric) \w+| onlink| ?$", "", each).strip() for each in routes]


def follows(lab: Lab, uplink: Uplink, *routes: str) -> None:
    wait_for(lambda: table(lab, uplink) == [*routes, "unreachable default"])


def reaches(lab: Lab, count: int = 4) -> None:
    """Have packets go there and back, by each tunnel in turn."""
    wait_for(lambda: "0% packet loss" in ping(lab, count))


def ping(lab: Lab, count: int) -> str:
    command = ("sh", "-c", f"ping -q -i 0.02 -W 1 -c {count} 10.9.0.2 || true")
    return lab.a.run(*command)


def both_by_their_own(lab: Lab) -> None:
    before = left(lab)
    reaches(lab)
    after = left(lab)
    used = {name for name, packets in after.items() if packets > before[name]}
    assert used == {counter(uplink, uplink) for uplink in UPLINKS}


@pytest.fixture(scope="module")
def home(lab: Lab) -> Iterator[Ipeqld]:
    before = policy(lab)
    with Ipeqld(lab.a, HOME) as daemon:
        for uplink in UPLINKS:
            follows(lab, uplink, f"default via {uplink.network}.1 dev {uplink.device}")
        both_by_their_own(lab)
        yield daemon
    assert policy(lab) == before


def test_the_bundle_has_the_default_route_and_a_gateway_moves(lab: Lab, home: Ipeqld) -> None:
    assert "dev ipeql0" in ip(lab, "route get 203.0.113.1")
    assert "dev ipeql0" in ip(lab, "-6 route get 2001:db8::1")
    lte, other = LTE.device, f"{LTE.network}.3"
    lab.middle.run(*f"ip address add {other}/24 dev {LTE.end}".split())
    ip(lab, f"route del default via {LTE.network}.1 dev {lte}")
    ip(lab, f"route add default via {other} dev {lte} table 78 src {LTE.network}.2")
    follows(lab, LTE, f"default via {other} dev {lte} src {LTE.network}.2")
    both_by_their_own(lab)
    ip(lab, f"route del default dev {lte} table 78")
    ip(lab, f"route add default via {LTE.network}.1 dev {lte} metric {LTE.number}")
    follows(lab, LTE, f"default via {LTE.network}.1 dev {lte}")


def test_without_a_gateway_nothing_leaves_by_another_uplink(lab: Lab, home: Ipeqld) -> None:
    ip(lab, f"route del default via {LTE.network}.1 dev {LTE.device}")
    follows(lab, LTE)
    before = left(lab)
    assert "100% packet loss" not in ping(lab, 10)
    sent = {name for name, packets in left(lab).items() if packets > before[name]}
    assert sent == {counter(FIBRE, FIBRE)}
    # The gateway itself, as all of the uplink's own subnet, is still there.
    mark = f"{FIRST_MARK + 1:#x}"
    assert LTE.device in ip(lab, f"route get {LTE.network}.9 mark {mark}")
    ip(lab, f"route add default via {LTE.network}.1 dev {LTE.device} metric {LTE.number}")
    follows(lab, LTE, f"default via {LTE.network}.1 dev {LTE.device}")
    both_by_their_own(lab)


def test_a_modem_that_comes_back_under_another_ifindex(lab: Lab, home: Ipeqld) -> None:
    index = lab.a.index(LTE.device)
    lab.a.delete(LTE.device)
    follows(lab, LTE)
    (slave,) = [each for each in slaves(home) if each["name"] == LTE.tunnel]
    assert (slave["state"], slave["reason"]) == ("no-uplink", "wwan0 is not there")
    wireguard.attach(lab, LTE)
    assert lab.a.index(LTE.device) != index
    follows(lab, LTE, f"default via {LTE.network}.1 dev {LTE.device}")
    wait_for(lambda: all(each["state"] == "active" for each in slaves(home)))
    both_by_their_own(lab)


def slaves(daemon: Ipeqld) -> list[dict[str, str]]:
    (shown,) = daemon.status()["bundles"]
    found: list[dict[str, str]] = shown["slaves"]
    return found


def test_a_slave_that_is_freed_leaves_nothing(lab: Lab, home: Ipeqld) -> None:
    home.ipeql("free", "ipeql0", LTE.tunnel)
    assert lab.a.run("wg", "show", LTE.tunnel, "fwmark").strip() == "off"
    assert f"{FIRST_MARK + 1:#x}" not in ip(lab, "rule")
    home.ipeql("revert")
    both_by_their_own(lab)


def test_a_mark_that_is_given_is_used_and_kept(lab: Lab, home: Ipeqld) -> None:
    lab.a.run("wg", "set", LTE.tunnel, "fwmark", "0x52")
    home.ipeql("apply")
    assert "fwmark 0x52 lookup" in ip(lab, "rule")
    both_by_their_own(lab)
    home.ipeql("free", "ipeql0", LTE.tunnel)
    assert "fwmark 0x52" not in ip(lab, "rule")
    assert lab.a.run("wg", "show", LTE.tunnel, "fwmark").strip() == "0x52"
    lab.a.run("wg", "set", LTE.tunnel, "fwmark", "0")
    home.ipeql("revert")


def test_what_others_remove_is_put_back(lab: Lab, home: Ipeqld) -> None:
    def rules() -> int:
        return ip(lab, "rule").count("proto 98") + ip(lab, "-6 rule").count("proto 98")

    before = rules()
    ip(lab, "rule del pref 98")
    ip(lab, "-6 rule del pref 98")
    wait_for(lambda: rules() == before)


def default_routes(lab: Lab) -> int:
    families = ("-4", "-6")
    return sum("ipeql0" in ip(lab, f"{family} route show default") for family in families)


def test_a_default_route_needs_the_carrier(lab: Lab, home: Ipeqld) -> None:
    for uplink in UPLINKS:
        ip(lab, f"link set {uplink.tunnel} down")
    wait_for(lambda: default_routes(lab) == 0)
    for uplink in UPLINKS:
        ip(lab, f"link set {uplink.tunnel} up")
    wait_for(lambda: default_routes(lab) == 2)
    wait_for(lambda: all(each["state"] == "active" for each in slaves(home)))
    both_by_their_own(lab)


def test_a_loop_is_named_with_its_remedy(lab: Lab, home: Ipeqld) -> None:
    home.reload(WITHOUT)
    assert problems(home) == ["IPQ-E011", "IPQ-E011"]
    assert {each["state"] for each in slaves(home)} == {"loop"}
    assert "give the slave 'over:'" in status(home)
    home.reload(HOME)
    assert not problems(home)
    both_by_their_own(lab)
    home.wait_log("loop -> active")
    assert sum("IPQ-E011" in line for line in home.log) == len(UPLINKS)


def problems(daemon: Ipeqld) -> list[str]:
    (shown,) = daemon.status()["bundles"]
    return sorted(problem["code"] for problem in shown["problems"])


def status(daemon: Ipeqld) -> str:
    return daemon.run_ipeql("status").stdout


def test_a_strict_filter_of_the_uplink_is_named(lab: Lab, home: Ipeqld) -> None:
    lab.a.sysctl(f"net/ipv4/conf/{LTE.device}/rp_filter", "1")
    lab.a.sysctl("net/ipv4/conf/all/rp_filter", "0")
    try:
        wait_for(lambda: problems(home) == ["IPQ-E020"])
        assert "sysctl -w net.ipv4.conf.wwan0.rp_filter=2" in status(home)
    finally:
        lab.a.sysctl("net/ipv4/conf/all/rp_filter", "2")
        lab.a.sysctl(f"net/ipv4/conf/{LTE.device}/rp_filter", "0")
    wait_for(lambda: not problems(home))
