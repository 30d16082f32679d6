"""What the prober is to do for each bundle, as data, and as JSON on its way from the daemon.

Units: rates bit/s, times ns.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from ipeql.state import Address, Measured, Network, ProbeSpec


@dataclass(frozen=True, slots=True)
class SlaveTask:
    """One present slave. ``probe`` None: it is not probed, but answers.

    ``mac``: its own link address, as hexadecimal digits with colons. ``bandwidth`` 0: not known.
    ``lag`` None: not configured. ``measures_lag``: the dataplane gets the measured one.
    ``measured``: the bounds of a bandwidth that is measured; ``bandwidth`` is assumed before.
    """

    ifindex: int
    name: str
    arphrd: int
    mac: str = ""
    via: IPv4Address | None = None
    via6: IPv6Address | None = None
    probe: ProbeSpec | None = None
    bandwidth: int = 0
    lag: int | None = None
    measures_lag: bool = False
    measured: Measured | None = None


@dataclass(frozen=True, slots=True)
class BundleTask:
    """One bundle. ``addresses``: its own, the best first.

    ``ports``: where its slaves answer requests of the networks ``allowed``; empty: nowhere.
    ``key_file``: only those who have the key are answered; empty: no key is needed. ``late``: the
    dataplane binds packets late where bandwidths are measured.
    """

    bundle: str
    backend: str
    addresses: tuple[Address, ...] = ()
    slaves: tuple[SlaveTask, ...] = ()
    ports: tuple[int, ...] = ()
    allowed: tuple[Network, ...] = ()
    key_file: str = ""
    late: bool = False

    def own_address(self, far: Address) -> Address | None:
        """Return the bundle's address that packets to ``far`` come from."""
        fitting = (each for each in self.addresses if each.version == far.version)
        return next(fitting, None)


def to_json(tasks: Iterable[BundleTask]) -> list[dict[str, Any]]:
    """Return the tasks as JSON types, except addresses, which ``str`` converts to text."""
    return [asdict(task) for task in tasks]


def from_json(data: dict[str, Any]) -> BundleTask:
    """Return the task that ``to_json`` wrote."""
    return BundleTask(
        **{
            **data,
            "addresses": tuple(map(ip_address, data["addresses"])),
            "slaves": tuple(map(_slave, data["slaves"])),
            "ports": tuple(data["ports"]),
            "allowed": tuple(map(ip_network, data["allowed"])),
        }
    )


def _slave(data: dict[str, Any]) -> SlaveTask:
    probe = data["probe"] and ProbeSpec(**data["probe"])
    return SlaveTask(
        **{
            **data,
            "via": IPv4Address(data["via"]) if data["via"] else None,
            "via6": IPv6Address(data["via6"]) if data["via6"] else None,
            "probe": replace(probe, to=ip_address(probe.to)) if probe else None,
            "measured": Measured(*data["measured"]) if data["measured"] else None,
        }
    )
