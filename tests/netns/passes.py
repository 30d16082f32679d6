"""Passes of a test, over real links with the TUN backend: what is wanted, and what is there."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from ipaddress import IPv6Address, ip_address, ip_interface, ip_network
from pathlib import Path

from ipeql.backends.base import Backend
from ipeql.backends.tun.backend import TunBackend
from ipeql.errors import Code
from ipeql.observe import snapshot
from ipeql.reconcile import PassResult, Reconciler
from ipeql.state import (
    BundleSpec,
    DesiredState,
    Link,
    RouteSpec,
    SlaveSpec,
)

WIRE = "wire.1"
"""A name that must not become two components of a sysctl."""

LINKS = (
    "link add eth1 type veth peer name far1",
    f"link add {WIRE} type veth peer name far2",
    *(f"link set {name} addrgenmode none" for name in ("eth1", WIRE, "far1", "far2")),
    "link set far1 up",
    "link set far2 up",
    f"link set {WIRE} mtu 1400",
    "link set eth1 up",
)
HOP = IPv6Address("fe80::1")
BUNDLE = BundleSpec(
    "ipeql0",
    "bw_load",
    (
        SlaveSpec("eth1", bandwidth=10**8, via6=HOP),
        SlaveSpec(WIRE, bandwidth=10**7, via6=HOP),
    ),
    addresses=(ip_interface("10.9.0.1/24"), ip_interface("fd00:9::1/64")),
    routes=(
        RouteSpec(ip_network("192.168.40.0/24"), ip_address("10.9.0.2"), 50),
        RouteSpec(ip_network("192.168.41.0/24")),
        RouteSpec(ip_network("fd00:40::/64")),
    ),
    receive="slave",
)


def wanted(*bundles: BundleSpec) -> DesiredState:
    return DesiredState({bundle.name: bundle for bundle in bundles})


@asynccontextmanager
async def reconciler(
    directory: Path, backends: Mapping[str, Backend] | None = None
) -> AsyncIterator[Reconciler]:
    """Yield a reconciler; whatever it made is gone afterwards."""
    found = Reconciler(backends or {"tun": TunBackend(directory)}, snapshot, directory)
    try:
        yield found
    finally:
        await found.destroy_all()


async def links() -> dict[str, Link]:
    found, _ = await snapshot()
    return {link.name: link for link in found.values()}


def rp_filter(name: str) -> int:
    return int(Path("/proc/sys/net/ipv4/conf", name, "rp_filter").read_text())


def make_strict(name: str) -> None:
    Path("/proc/sys/net/ipv4/conf", name, "rp_filter").write_text("1")


def codes(result: PassResult) -> list[Code]:
    return [problem.code for problem in result.problems]
