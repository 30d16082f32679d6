"""Probers in the hosts of a lab, without a daemon: what they report, and what they would adjust."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

from ipeql.backends.tun.worker.rtnl import Requests
from ipeql.probe.channel import task, wire
from ipeql.probe.channel.task import BundleTask, SlaveTask
from ipeql.probe.loop import Prober
from ipeql.state import ARPHRD_ETHER, Adjustments, PathReport, ProbeSpec
from lab.network.host import Host
from lab.network.hosts import Lab
from tests.netns.bundle import wait_for

BUNDLE = "ipeql0"
OWN = {4: ("10.9.0.1", "10.9.0.2"), 6: ("fd00:9::1", "fd00:9::2")}
"""The bundle's addresses in host a and in host b."""


def give_addresses(lab: Lab, *hosts: Host) -> None:
    """Give hosts the addresses of their bundles, on lo; b finds that of a by the first link."""
    for version, pair in OWN.items():
        via = str(lab.address(lab.a, lab.names[0], version).ip)
        lab.b.add_route(lab.names[0], f"{pair[0]}/{32 if version == 4 else 128}", via)
    for host in hosts:
        for pair in OWN.values():
            prefix = 32 if "." in pair[0] else 128
            host.add_address("lo", ip_interface(f"{pair[host is lab.b]}/{prefix}"))


def mac(host: Host, link: str) -> str:
    """Return a link's hardware address."""
    found = host.netlink(lambda ipr: ipr.link("get", ifname=link)[0].get("address"))
    return str(found)


def bundle_task(lab: Lab, host: Host, version: int = 4, **probe: Any) -> BundleTask:
    """Return the task to probe the other host over every link; ``probe``: of ProbeSpec."""
    own, far = OWN[version][:: -1 if host is lab.b else 1]
    spec = ProbeSpec(to=ip_address(far), **probe)
    slaves = tuple(
        SlaveTask(
            ifindex=host.index(link),
            name=link,
            arphrd=ARPHRD_ETHER,
            mac=mac(host, link),
            via6=ip_address(str(lab.address(lab.a if host is lab.b else lab.b, link, 6).ip)),  # type: ignore[arg-type]
            probe=spec,
            measures_lag=True,
        )
        for link in lab.names
    )
    return BundleTask(
        bundle=BUNDLE,
        backend="tun",
        addresses=(ip_address(own),),
        slaves=slaves,
        ports=(862,),
        allowed=(ip_network(far),),
    )


class Probing:
    """A prober in a host. ``adjusted``: what its dataplane was told, one after the other."""

    def __init__(self, host: Host, first: BundleTask) -> None:
        self.adjusted: list[Adjustments] = []
        self.message: dict[str, Any] = {}
        self.pongs: list[list[dict[str, Any]]] = []
        self._ours, self._its = socket.socketpair()
        self._lines = self._ours.makefile("rb")
        self._host = host
        self._threads = [threading.Thread(target=each) for each in (self._run, self._listen)]
        self.task = first
        for thread in self._threads:
            thread.start()
        self.assign(first)

    def assign(self, *tasks: BundleTask) -> None:
        self._ours.sendall(wire.line({"tasks": task.to_json(tasks)}))

    def ping(self) -> list[dict[str, Any]]:
        before = len(self.pongs)
        self._ours.sendall(wire.line({"ping": 1, "bundle": BUNDLE}))
        wait_for(lambda: len(self.pongs) > before)
        return self.pongs[-1]

    def reports(self) -> dict[str, PathReport]:
        """Return the last reports by the link's name."""
        names = {each.ifindex: each.name for each in self.task.slaves}
        found = wire.reports(self.message) if self.message else {}
        return {names[ifindex]: report for (_, ifindex), report in found.items()}

    def close(self) -> None:
        self._ours.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        self._lines.close()
        self._ours.close()

    def _run(self) -> None:
        self._host.call(lambda: asyncio.run(self._probe()))

    async def _probe(self) -> None:
        reader, writer = await asyncio.open_connection(sock=self._its)
        await Prober(Requests(), self._adjust).run(reader, writer)
        writer.close()

    async def _adjust(self, backend: str, bundle: str, adjustments: Adjustments) -> None:
        self.adjusted.append(adjustments)

    def _listen(self) -> None:
        for line in self._lines:
            message = json.loads(line)
            if "pong" in message:
                self.pongs.append(message["slaves"])
            else:
                self.message = message


@contextmanager
def probing(
    lab: Lab,
    host: Host,
    version: int = 4,
    change: Callable[[BundleTask], BundleTask] = replace,
    **probe: Any,
) -> Iterator[Probing]:
    """Have a prober in a host, gone afterwards; ``change`` makes its task another one."""
    found = Probing(host, change(bundle_task(lab, host, version, **probe)))
    try:
        yield found
    finally:
        found.close()
