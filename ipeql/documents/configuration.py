"""One bundle's configuration as JSON, in the keys and units of the file, defaults filled in."""

import inspect
from typing import Any

from ipeql.methods import METHODS, TIMES
from ipeql.state import BundleSpec, RouteSpec, SlaveSpec
from ipeql.units import format_rate, format_time


def parameters(spec: BundleSpec) -> dict[str, int | str]:
    """Return the method's parameters in Python spelling: those given, and the others' defaults."""
    known = METHODS[spec.method].parameters - {"poll_interval"}
    signature = inspect.signature(METHODS[spec.method]).parameters
    return {name: signature[name].default for name in sorted(known)} | dict(spec.parameters)


def configuration(spec: BundleSpec) -> dict[str, Any]:
    """Return what ``ipeql show`` shows.

    ``configuration`` has the shape of the bundle in its file; ``line`` and ``slave_lines`` say
    where in ``file`` the bundle and each of its slaves stand (0: unknown). ``changed``,
    ``slaves_changed`` and ``freed`` say where keys, slaves' keys (``slave``: all of them) and
    slaves that are left out have been changed: ``transient``, or FILE:LINE.
    """
    shown: dict[str, Any] = {
        "method": spec.method,
        **{
            name.replace("_", "-"): format_time(int(value)) if name in TIMES else value
            for name, value in parameters(spec).items()
        },
        "backend": spec.backend,
        "mtu": spec.mtu or "auto",
        "stripe-unit": spec.stripe_unit,
        "addresses": [str(address) for address in spec.addresses],
        "routes": [_route(route) for route in spec.routes],
        "min-slaves": spec.min_slaves,
        "poll-interval": format_time(spec.poll_interval),
        "slaves": [_slave(slave) for slave in spec.slaves],
    }
    return {
        "schema": "ipeql-bundle/1",
        "name": spec.name,
        "file": spec.mark.file if spec.mark else "",
        "line": spec.mark.line if spec.mark else 0,
        "slave_lines": [slave.mark.line if slave.mark else 0 for slave in spec.slaves],
        "changed": dict(spec.changed),
        "slaves_changed": [dict(slave.changed) for slave in spec.slaves],
        "freed": dict(spec.freed),
        "configuration": shown,
    }


def _route(route: RouteSpec) -> dict[str, Any]:
    shown = {"to": route.to, "via": route.via, "metric": route.metric}
    return {
        key: value if isinstance(value, int) else str(value)
        for key, value in shown.items()
        if value is not None
    }


def _slave(slave: SlaveSpec) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if slave.match:
        fields = {
            "name": slave.match.name,
            "mac": slave.match.mac,
            "driver": slave.match.driver,
        }
        shown["match"] = {key: value for key, value in fields.items() if value}
    else:
        shown["name"] = slave.name
    if slave.bandwidth_auto:
        shown["bandwidth"] = "auto"
    elif slave.bandwidth is not None:
        shown["bandwidth"] = format_rate(slave.bandwidth)
    if slave.lag is not None:
        shown["lag"] = format_time(slave.lag)
    if slave.overhead is not None:
        shown["overhead"] = slave.overhead
    if slave.via:
        shown["via"] = str(slave.via)
    if slave.via6:
        shown["via6"] = str(slave.via6)
    return shown | {"up": slave.up}
