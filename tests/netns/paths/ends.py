"""What daemons whose bundles probe each other say, and their probers."""

import json
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from lab.network import netns
from lab.network.host import Host
from lab.network.ipeqld import Ipeqld

PATIENCE_S = 20.0
"""A busy machine may take so long for what takes a tenth of a second."""


def asked(daemon: Ipeqld, method: str, **parameters: str) -> dict[str, Any]:
    """Return what the daemon answers to a request, without a command's start."""
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(PATIENCE_S)
        control.connect(str(daemon.runtime / "control"))
        control.sendall(json.dumps({"method": method, "parameters": parameters}).encode() + b"\n")
        answer = json.loads(control.makefile().readline())
    return dict(answer.get("result", {}))


def shown(daemon: Ipeqld) -> dict[str, Any]:
    """Return the status of the only bundle."""
    (bundle,) = asked(daemon, "Describe")["bundles"]
    return dict(bundle)


def states(daemon: Ipeqld) -> dict[str, str]:
    """Return the state of each slave."""
    return {slave["name"]: slave["state"] for slave in shown(daemon)["slaves"]}


def standings(daemon: Ipeqld) -> list[str]:
    """Return where the paths stand, in the order of the slaves."""
    return [slave["path"]["standing"] for slave in shown(daemon)["slaves"]]


def suspensions(daemon: Ipeqld) -> int:
    """Return how often paths were suspended."""
    return sum(slave["path"]["suspensions"] for slave in shown(daemon)["slaves"])


def problems(daemon: Ipeqld) -> list[str]:
    """Return the codes of the bundle's problems."""
    return [each["code"] for each in shown(daemon)["problems"]]


def answers(daemon: Ipeqld) -> list[str]:
    """Return the slaves over which the far end answers a ping."""
    return [
        each["name"]
        for each in asked(daemon, "Ping", bundle="ipeql0").get("slaves", [])
        if each["round_trip_ns"] is not None
    ]


def probers(host: Host) -> list[int]:
    """Return the probers in a host."""
    found = []
    for pid in netns.pids(host.netns):
        with suppress(OSError):  # it has ended meanwhile
            if b"ipeql.prober" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                found.append(pid)
    return found
