"""docs/two-uplinks.md in namespaces: home with two uplinks, what lies between, the server.

Home is host a, the server host b. Both uplinks are behind a NAT. Where the kernel has no WireGuard,
wg-quick takes wireguard-go, whose sockets are in a /run of its own for each host.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_interface
from pathlib import Path

from pyroute2 import NFCTSocket

from lab import ROOT
from lab.network.host import SYSCTLS, Host
from lab.network.hosts import Lab

PAGE = ROOT / "docs" / "two-uplinks.md"
SERVER, GATEWAY = "203.0.113.1/24", "203.0.113.254/24"
LAN, WEB = "192.168.9.2", "198.51.100.2"
"""Addresses of a machine behind home, and of one behind the server."""

TIMEOUT_S = 120

_APART = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /run && exec "$@"')
"""Runs a command with a directory for /run; the directory is to follow."""

FILTERS = """\
table inet outage {
    set silent { type ifname; }
    chain forward {
        type filter hook forward priority 0;
        iifname @silent drop
        oifname @silent drop
    }
}
table ip nat {
    chain out {
        type nat hook postrouting priority 100;
        ip saddr 192.168.0.0/16 oifname "server" masquerade fully-random
    }
}
"""


@dataclass(frozen=True, slots=True)
class Uplink:
    """An uplink of home, its ``device`` there, and the ``number`` of its port and network.

    ``tunnel`` and ``end`` are the devices of its tunnel, and between home and the server.
    """

    name: str
    device: str
    number: int

    @property
    def tunnel(self) -> str:
        return f"wg-{self.device}"

    @property
    def port(self) -> int:
        """Where the tunnel's packets go at the server."""
        return 51000 + UPLINKS.index(self)

    @property
    def end(self) -> str:
        return f"to-{self.name}"

    @property
    def network(self) -> str:
        return f"192.168.{self.number}"


FIBRE, LTE = Uplink("fibre", "eth0", 51), Uplink("lte", "wwan0", 52)
UPLINKS = (FIBRE, LTE)


def commands() -> list[str]:
    """Return the commands of the page, one for each step."""
    return re.findall(r"^   ```\n   (.*)\n   ```$", PAGE.read_text(), re.M)


class Recipe:
    """What docs/two-uplinks.md has its reader do, with what ``ipeql example`` has written for it.

    ``home`` and ``server`` are the bundle's configuration there.
    """

    def __init__(self, lab: Lab, directory: Path) -> None:
        self._lab = lab
        example = shlex.split(commands()[2])
        assert example[:2] == ["ipeql", "example"]
        subprocess.run(
            [sys.executable, "-m", *example],
            cwd=directory,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            check=True,
        )
        self._etc = {
            host.name: directory / "uplinks" / end / "etc"
            for host, end in ((lab.a, "home"), (lab.b, "server"))
        }
        for host in (lab.a, lab.b):
            (directory / host.name / "run").mkdir(parents=True)
            host.entry = (*_APART, str(directory / host.name / "run"))
        self.home = (self._etc["a"] / "ipeql/home.yaml").read_text()
        self.server = (self._etc["b"] / "ipeql/server.yaml").read_text()

    def up(self, host: Host) -> None:
        """Do what the units of step 7 do, but for ipeql.service."""
        etc = self._etc[host.name]
        _run(host, f"sysctl -q -p {etc}/sysctl.d/90-ipeql.conf")
        unit = (etc / "systemd/system/nftables.service.d/ipeql.conf").read_text()
        (load,) = re.findall(r"^ExecStart=(.*)$", unit, re.M)
        _run(host, load.replace("/etc/", f"{etc}/"))
        for uplink in UPLINKS:
            self.wg_quick("up", host, uplink)

    def wg_quick(self, command: str, host: Host, uplink: Uplink) -> None:
        """Bring a tunnel ``up`` or ``down`` at one end."""
        _run(host, f"wg-quick {command} {self._etc[host.name]}/wireguard/{uplink.tunnel}.conf")

    def endpoint(self, uplink: Uplink) -> str:
        """Return where the server sends the packets of a tunnel."""
        return _run(self._lab.b, f"wg show {uplink.tunnel} endpoints").split()[1]

    @contextmanager
    def down(self, host: Host, uplink: Uplink) -> Iterator[None]:
        """Have a tunnel down at one end in the context."""
        self.wg_quick("down", host, uplink)
        try:
            yield
        finally:
            self.wg_quick("up", host, uplink)


def connect(lab: Lab) -> None:
    """Join home to the server by both uplinks."""
    for uplink in UPLINKS:
        attach(lab, uplink)
    _pair(lab, lab.b, "eth0", "server")
    lab.middle.add_address("server", ip_interface(GATEWAY))
    lab.b.add_address("eth0", ip_interface(SERVER))
    lab.b.add_route("eth0", "0.0.0.0/0", GATEWAY.partition("/")[0])
    lab.middle.sysctl("net/ipv4/ip_forward", "1")
    lab.a.sysctl("net/ipv4/conf/all/rp_filter", "2")
    lab.middle.call(
        lambda: subprocess.run(["nft", "-f", "-"], input=FILTERS, text=True, check=True)
    )


def make_strict(lab: Lab) -> None:
    """Have the uplinks drop what does not come by the way back, unless somebody says otherwise."""
    lab.a.sysctl("net/ipv4/conf/all/rp_filter", "0")
    for uplink in UPLINKS:
        lab.a.sysctl(f"net/ipv4/conf/{uplink.device}/rp_filter", "1")


@contextmanager
def behind(router: Host, name: str, address: str) -> Iterator[Host]:
    """Have a machine whose default route leads to ``router``."""
    host = Host(name, f"{router.netns}-{name}")
    gateway = address.rpartition(".")[0] + ".1"
    try:
        host.create(SYSCTLS)
        peer = {"ifname": name, "net_ns_fd": router.netns}
        host.netlink(lambda ipr: ipr.link("add", ifname="eth0", kind="veth", peer=peer))
        for end, link, own in ((router, name, gateway), (host, "eth0", address)):
            end.set_up(link)
            end.add_address(link, ip_interface(f"{own}/24"))
        host.wait_running("eth0")
        host.add_route("eth0", "0.0.0.0/0", gateway)
        yield host
    finally:
        host.destroy()


def reaches(host: Host, to: str) -> bool:
    command = f"ping -q -c 1 -W 1 {to} >/dev/null && echo yes || echo no"
    return host.run("sh", "-c", command) == "yes\n"


def _run(host: Host, command: str) -> str:
    return host.run(*command.split(), timeout=TIMEOUT_S)


def _pair(lab: Lab, host: Host, device: str, end: str) -> None:
    peer = {"ifname": end, "net_ns_fd": lab.middle.netns}
    host.netlink(lambda ipr: ipr.link("add", ifname=device, kind="veth", peer=peer))
    lab.middle.set_up(end)
    host.set_up(device)
    host.wait_running(device)


def attach(lab: Lab, uplink: Uplink) -> None:
    """Make an uplink that is not there, or not any more."""
    _pair(lab, lab.a, uplink.device, uplink.end)
    lab.middle.add_address(uplink.end, ip_interface(f"{uplink.network}.1/24"))
    plug_in(lab, uplink)


def plug_in(lab: Lab, uplink: Uplink) -> None:
    """Do what a cable and a network manager do: carrier, address, routes."""
    lab.middle.set_up(uplink.end)
    lab.a.wait_running(uplink.device)
    lab.a.add_address(uplink.device, ip_interface(f"{uplink.network}.2/24"))
    route = f"default via {uplink.network}.1 dev {uplink.device} metric {uplink.number}"
    _run(lab.a, f"ip route add {route}")


@contextmanager
def pulled(lab: Lab, uplink: Uplink) -> Iterator[None]:
    """Have the uplink's cable pulled in the context; the network manager removes its address."""
    lab.middle.set_up(uplink.end, up=False)
    _run(lab.a, f"ip address flush dev {uplink.device}")
    try:
        yield
    finally:
        plug_in(lab, uplink)


@contextmanager
def silent(lab: Lab, uplink: Uplink) -> Iterator[None]:
    """Have the uplink carry nothing in the context, and nobody told."""
    element = f"element inet outage silent {{ {uplink.end} }}"
    _run(lab.middle, f"nft add {element}")
    try:
        yield
    finally:
        _run(lab.middle, f"nft delete {element}")


def rebind(lab: Lab) -> None:
    """Have the NAT forget: the next packet from home leaves by another port."""

    def forget() -> None:
        with NFCTSocket() as connections:
            connections.flush()

    lab.middle.call(forget)
