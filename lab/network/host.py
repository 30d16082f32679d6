"""Hosts in network namespaces: run things in them, change their links."""

import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, suppress
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path
from typing import Any, TypeVar

from pyroute2 import IPRoute
from pyroute2.ethtool.ioctl import IoctlEthtool

from lab.network import netns

T = TypeVar("T")

IFA_F_NODAD = 0x02
IFF_RUNNING = 0x40

COMMAND_TIMEOUT_S = 600.0
"""On the instruction clock of an emulated kernel it takes a minute to read a program from disk."""

SYSCTLS = {
    "net/ipv4/tcp_no_metrics_save": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv6/conf/all/keep_addr_on_down": "1",
    "net/ipv6/conf/default/accept_dad": "0",
    "net/ipv6/conf/default/accept_ra": "0",
    "net/ipv6/conf/default/router_solicitations": "0",
}
"""Alike in every host, whatever the machine's defaults: measurements must be comparable."""


class Host:
    """One host, a network namespace of its own with ``lo`` up.

    ``name`` is for people; ``netns`` is the namespace under /run/netns. ``entry``: the beginning of
    a command that runs all others, e.g. one that changes what they see of the file system.
    """

    def __init__(self, name: str, namespace: str) -> None:
        self.name = name
        self.netns = namespace
        self.entry: tuple[str, ...] = ()
        self._processes: list[subprocess.Popen[str]] = []

    def create(self, sysctls: dict[str, str]) -> None:
        """Make the namespace; OSError without the privilege or a sysctl's kernel feature.

        TCP's congestion control becomes CUBIC unless the machine's
        net.ipv4.tcp_allowed_congestion_control withholds it from namespaces.
        """
        netns.create(self.netns)
        for key, value in sysctls.items():
            self.sysctl(key, value)
        with suppress(PermissionError, FileNotFoundError):
            self.sysctl("net/ipv4/tcp_congestion_control", "cubic")
        self.set_up("lo")

    def destroy(self) -> None:
        """Kill the processes inside and those :meth:`popen` started; remove the namespace."""
        for process in self._processes:
            process.kill()
        netns.end(self.netns)
        for process in self._processes:
            process.communicate()

    def enter(self) -> AbstractContextManager[None]:
        """Return a context that has the calling thread, and it alone, inside this host."""
        return netns.enter(self.netns)

    def call(self, function: Callable[[], T]) -> T:
        """Return ``function()`` as run inside this host, in a thread of its own."""
        return netns.inside(self.netns, function)

    def netlink(self, function: Callable[[Any], T]) -> T:
        """Return ``function(ipr)`` with a pyroute2 ``IPRoute`` of this host.

        Works from coroutines too: a synchronous IPRoute may not share their thread.
        """

        def call() -> T:
            with IPRoute() as ipr:
                return function(ipr)

        return self.call(call)

    def popen(
        self,
        *command: str,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> subprocess.Popen[str]:
        """Start a command inside, files as Popen takes them. It is killed with the host."""
        process = subprocess.Popen(
            self._inside(command),
            text=True,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        self._processes.append(process)
        return process

    def run(self, *command: str, timeout: float = COMMAND_TIMEOUT_S) -> str:
        """Return the stdout of a command run inside; CalledProcessError when it fails."""
        entry = self._inside(command)
        done = subprocess.run(entry, timeout=timeout, check=True, text=True, stdout=subprocess.PIPE)
        return done.stdout

    def _inside(self, command: Sequence[str]) -> list[str]:
        return ["nsenter", f"--net={netns.RUN / self.netns}", "--", *self.entry, *command]

    def sysctl(self, key: str, value: str) -> None:
        """Write ``value`` to /proc/sys/``key``; only keys of ``net/`` are the host's own."""
        self.call(lambda: Path("/proc/sys", key).write_text(value))

    def index(self, link: str) -> int:
        """Return the ifindex of ``link``; LookupError if there is none."""
        found = self.netlink(lambda ipr: list(ipr.link_lookup(ifname=link)))
        if not found:
            raise LookupError(f"{self.name} has no {link}")
        return int(found[0])

    def set_up(self, link: str, up: bool = True) -> None:
        """Set ``link`` administratively up or down."""
        index = self.index(link)
        self.netlink(lambda ipr: ipr.link("set", index=index, state="up" if up else "down"))

    def segment_in_software(self, link: str) -> None:
        """Take segmentation offload from ``link``: only single wire frames leave the host.

        Not by IFLA_GSO_MAX_SEGS, which trains from packet sockets get around.
        """

        def switch_off() -> None:
            ethtool = IoctlEthtool(link)
            with closing(ethtool):
                features = ethtool.get_features()
                for name, _, available, *_ in features:
                    if available and name.endswith("-segmentation"):
                        features[name] = False
                ethtool.set_features(features)

        self.call(switch_off)

    def wait_running(self, link: str, running: bool = True, timeout: float = 5) -> None:
        """Wait until the kernel has noticed that ``link`` can carry packets, or cannot."""
        index = self.index(link)
        deadline = time.monotonic() + timeout
        while bool(self._flags(index) & IFF_RUNNING) is not running:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{link} of {self.name}: IFF_RUNNING is still {not running}")
            time.sleep(0.002)

    def _flags(self, index: int) -> int:
        return int(self.netlink(lambda ipr: ipr.link("get", index=index)[0]["flags"]))

    def add_address(self, link: str, address: IPv4Interface | IPv6Interface) -> None:
        """Add an address, usable at once: without duplicate address detection."""
        index = self.index(link)
        flags = IFA_F_NODAD if address.version == 6 else 0
        self.netlink(
            lambda ipr: ipr.addr(
                "add",
                index=index,
                address=str(address.ip),
                prefixlen=address.network.prefixlen,
                flags=flags,
            )
        )

    def add_route(self, link: str, to: str, via: str) -> None:
        """Add or replace the route to ``to`` over ``link`` by the next hop ``via``."""
        index = self.index(link)
        self.netlink(lambda ipr: ipr.route("replace", dst=to, gateway=via, oif=index))

    def delete(self, link: str) -> None:
        """Delete a virtual link, as if the device were unplugged."""
        index = self.index(link)
        self.netlink(lambda ipr: ipr.link("del", index=index))
