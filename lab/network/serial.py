"""Two hosts joined by serial lines that carry SLIP or PPP."""

import json
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_interface
from subprocess import DEVNULL, PIPE, Popen
from typing import Any, Literal

from pyroute2 import netns as names

from lab import module
from lab.network import netns
from lab.network.host import Host
from lab.network.hosts import NO_IPV6, Lab

DIAL_TIMEOUT_S = 30.0
PPP_OPTIONS = (
    *("nodetach", "local", "noauth", "nocrtscts", "nolock", "noipv6", "novj", "noccp"),
    *("lcp-echo-interval", "0"),
)
"""Plain PPP: no compression, so that its figures are the lines'."""


@dataclass(frozen=True, slots=True)
class Serial:
    """A line: what it carries, its rate in bit/s (8N1: a tenth of it in bytes/s), its MTU."""

    rate: int
    kind: Literal["slip", "ppp"] = "slip"
    mtu: int = 900


class Here(Host):
    """The host that this program runs in: the devices of SLIP and EQL are born there."""

    def create(self, sysctls: dict[str, str]) -> None:
        """Load what serial lines need and name the namespace; its sysctls change for everybody."""
        subprocess.run(["modprobe", "--all", "slip", "ppp_async"], check=True)
        names.attach(self.netns, os.getpid())
        for key, value in (sysctls | NO_IPV6).items():
            self.sysctl(key, value)

    def destroy(self) -> None:
        """Kill what :meth:`popen` started and forget the name."""
        for process in self._processes:
            process.kill()
            process.communicate()
        netns.remove(self.netns)


class SerialLab(Lab):
    """A lab whose links are serial lines, called line1, line2, ...; IPv4 only.

    Host ``a`` is the machine itself, so this is for the emulated kernel. A line that is deleted is
    hung up: its devices vanish from both hosts; one that is created again has been redialled.
    """

    def __init__(self, lines: Sequence[Serial]) -> None:
        super().__init__([None] * len(lines), [f"line{n}" for n in range(1, len(lines) + 1)])
        self.a = Here("a", f"{self.a.netns}-here")  # Lab.sweep ends what runs in others
        self._lines = dict(zip(self.names, lines, strict=True))
        self._wires: dict[str, list[Popen[str]]] = {}

    def create_link(self, link: str) -> None:
        """Dial: returns when both hosts have the interface."""
        line = self._lines[link]
        wire = self._start(self.a, "slip" if line.kind == "slip" else "tty", str(line.rate))
        self._wires[link] = [wire]
        assert wire.stdout
        ends = json.loads(wire.stdout.readline())
        (self._slip if line.kind == "slip" else self._ppp)(link, line, *ends)
        for host in (self.a, self.b):
            host.wait_running(link, timeout=DIAL_TIMEOUT_S)

    def _start(self, host: Host, *arguments: str) -> Popen[str]:
        command = module("lab.network.serial_line", *arguments)
        return host.popen(*command, stdin=PIPE, stdout=PIPE)

    def _slip(self, link: str, line: Serial, near: str, far: str) -> None:
        index = self.a.index(far)
        self.a.netlink(lambda ipr: ipr.link("set", index=index, net_ns_fd=self.b.netns))
        for host, born in ((self.a, near), (self.b, far)):
            host.netlink(partial(_name, host.index(born), link, line.mtu))
            host.add_address(link, self.address(host, link))
            host.set_up(link)

    def _ppp(self, link: str, line: Serial, near: str, far: str) -> None:
        here, there = (str(self.address(host, link).ip) for host in (self.a, self.b))
        sizes = ("mtu", str(line.mtu), "mru", str(line.mtu))
        for host, terminal, addresses in (
            (self.a, near, f"{here}:{there}"),
            (self.b, far, f"{there}:{here}"),
        ):
            options = (*PPP_OPTIONS, *sizes, "ifname", link, addresses)
            command = ("pppd", terminal, str(line.rate), *options)
            self._wires[link].append(host.popen(*command, stdin=DEVNULL, stdout=DEVNULL))
        deadline = time.monotonic() + DIAL_TIMEOUT_S
        for host in (self.a, self.b):
            while not host.netlink(lambda ipr: ipr.link_lookup(ifname=link)):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"pppd has made no {link} in {host.name}")
                time.sleep(0.05)

    def delete_link(self, link: str) -> None:
        """Hang up."""
        for process in self._wires.pop(link):
            process.terminate()
            process.communicate()

    def plain_receiver(self, back: str = "") -> None:
        """Make ``b`` an ordinary receiver at 10.9.0.2, which answers 10.9.0.1 by ``back``."""
        self.b.add_address("lo", ip_interface("10.9.0.2/32"))
        gateway = str(self.address(self.a, back or self.names[0]).ip)
        self.b.add_route(back or self.names[0], "10.9.0.1/32", gateway)


def _name(index: int, name: str, mtu: int, ipr: Any) -> None:
    ipr.link("set", index=index, ifname=name, mtu=mtu)
