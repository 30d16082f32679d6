"""The commands of docs/two-uplinks.md on two machines, and a restart of home."""

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.network.host import Host
from lab.network.hosts import Lab
from tests.netns.paths import recipe as wireguard
from tests.netns.paths.recipe import LAN, UPLINKS, WEB, behind, reaches
from tests.system.machine import Machine, overlay

pytestmark = [pytest.mark.netns, pytest.mark.system, pytest.mark.timeout(600)]

BPF = ("mount", "-t", "bpf", "bpf", "/sys/fs/bpf")
"""systemd does it itself, but not in a container."""

FORGET = """\
nft flush ruleset
sysctl -q -w net.ipv4.ip_forward=0
for version in 4 6; do
    ip -$version route flush table all proto 98
    while ip -$version rule del pref 98 2>/dev/null; do :; done
done
"""
"""What is in the namespace, and a machine that is switched off does not keep."""


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab([]) as lab:
        wireguard.connect(lab)
        wireguard.make_strict(lab)
        yield lab


@pytest.fixture
def machines(installed: Path, lab: Lab) -> Iterator[tuple[Machine, Machine]]:
    """Home and server after step 2. Only the server is switched on."""
    with ExitStack() as stack:
        home, server = (
            Machine(stack.enter_context(overlay(installed)), host, bpf=True)
            for host in (lab.a, lab.b)
        )
        with server:
            server.run(*BPF)
            yield home, server


def works(home: Machine, lan: Host) -> None:
    """Have the LAN reach the Internet by the bundle, which has both slaves and no problem."""

    def bundle() -> dict[str, object]:
        done = home.try_("ipeql", "status", "--json")
        document = json.loads(done.stdout) if done.stdout else {"bundles": []}
        return next(iter(document["bundles"]), {})

    home.wait(lambda: bundle().get("usable_slaves") == len(UPLINKS))
    home.wait(lambda: not bundle()["problems"])
    home.wait(lambda: reaches(lan, WEB))
    assert "dev ipeql0" in home.run("ip", "route", "get", WEB)
    assert home.run("systemctl", "--failed", "--plain", "--no-legend") == ""


def test_two_machines_and_a_restart_of_home(machines: tuple[Machine, Machine], lab: Lab) -> None:
    home, server = machines
    package, install, example, copy, send, enable, start, _ = wireguard.commands()
    assert package == "scripts/package"
    assert install == "apt install ./dist/ipeql_*.deb wireguard-tools nftables"
    assert send == "scp -r uplinks/server/etc root@203.0.113.1:/"
    with behind(lab.a, "lan", LAN) as lan, behind(lab.middle, "web", WEB):
        with home:
            home.run(*BPF)
            for command in (example, copy):
                home.run("sh", "-c", f"cd /root && {command}")
            written = home.tree / "root/uplinks/server/etc"
            shutil.copytree(written, server.tree / "etc", dirs_exist_ok=True)
            for machine in (server, home):
                for command in (enable, start):
                    machine.run(*command.split())
            works(home, lan)
        lab.a.run("sh", "-c", FORGET)
        wireguard.make_strict(lab)
        with home:
            home.run(*BPF)
            works(home, lan)
