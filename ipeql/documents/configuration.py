"""One bundle's configuration as JSON, in the keys and units of the file, defaults filled in."""

import inspect
from dataclasses import asdict
from typing import Any

from ipeql.config.schema.convert import METHOD_KEYS, class_written, write
from ipeql.config.schema.kinds import ADDRESS
from ipeql.config.schema.model import Bundle, Match, Route, Slave
from ipeql.methods import METHODS
from ipeql.plan.members import measured_bandwidth, measures_lag
from ipeql.state import AUTO, BundleSpec, SlaveSpec


def parameters(spec: BundleSpec) -> dict[str, int | str]:
    """Return the method's parameters in Python spelling: those given, and the others' defaults."""
    known = METHODS[spec.method].parameters & METHOD_KEYS
    signature = inspect.signature(METHODS[spec.method]).parameters
    return {name: signature[name].default for name in sorted(known)} | dict(spec.parameters)


def configuration(spec: BundleSpec) -> dict[str, Any]:
    """Return what ``ipeql show`` shows.

    ``configuration`` has the shape of the bundle in its file; ``line`` and ``slave_lines`` say
    where in ``file`` the bundle and each of its slaves stand (0: unknown). ``changed``,
    ``slaves_changed`` and ``freed`` say where keys, slaves' keys (``slave``: all of them) and
    slaves that are left out have been changed: ``transient``, or FILE:LINE.
    """
    shown = {
        **write(Bundle, asdict(spec) | parameters(spec)),
        "classes": [class_written(each) for each in spec.classes],
        "addresses": [ADDRESS.write(address) for address in spec.addresses],
        "routes": [write(Route, asdict(route)) for route in spec.routes],
        "slaves": [_slave(spec, slave) for slave in spec.slaves],
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


def _slave(spec: BundleSpec, slave: SlaveSpec) -> dict[str, Any]:
    match = {"match": write(Match, asdict(slave.match))} if slave.match else {}
    measured = {
        "bandwidth": measured_bandwidth(spec, slave),
        "lag": AUTO if measures_lag(spec, slave) else None,
    }
    given = asdict(slave)
    return match | write(Slave, given | {key: each for key, each in measured.items() if each})
