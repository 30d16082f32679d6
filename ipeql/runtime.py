"""Files in RUNTIME_DIRECTORY: they outlive the daemon, but mean nothing in another boot.

The directory may be on a disk, in the image of a container, or shared by network namespaces. So
every file says in which boot and network namespace it was written.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_STAT = Path("/proc/stat")
_NAMESPACE = Path("/proc/thread-self/ns/net")

_SAME_BOOT_S = 2
"""Two times of boot that are no further apart are of one boot: btime has a resolution of 1 s."""

_log = logging.getLogger(__name__)


def origin() -> dict[str, str | int]:
    """Return what identifies this boot and network namespace; empty without /proc.

    ``boot``: the kernel's random id. systemd-nspawn shows another one than its units see, which
    have a /proc of their own. ``booted``: the time of boot in s since 1970 (btime, proc_stat(5)),
    which all of them see, but which moves when the clock is set.
    """
    try:
        boot = _BOOT_ID.read_text().strip()
        times = (line.split() for line in _STAT.read_text().splitlines())
        booted = next(int(words[1]) for words in times if words[0] == "btime")
        return {"boot": boot, "booted": booted, "network_namespace": _NAMESPACE.stat().st_ino}
    except OSError:
        return {}


def _is_here(data: Mapping[str, Any]) -> bool:
    """Say whether a file is of this boot and network namespace, or does not say of which."""
    here = origin()
    if any(data.get(key, value) != value for key, value in here.items() if key != "booted"):
        booted = data.get("booted")
        return (
            isinstance(booted, int)
            and abs(booted - int(here["booted"])) <= _SAME_BOOT_S
            and data.get("network_namespace") == here["network_namespace"]
        )
    return True


def read(path: Path, version: int) -> dict[str, Any] | None:
    """Return what ``write`` wrote in this boot and network namespace, or None.

    Raises OSError where the file cannot be read, ValueError where it is not of ``version``. A file
    of another boot or network namespace is logged and counts as none.
    """
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    found = data.get("version") if isinstance(data, dict) else None
    if found != version:
        raise ValueError(f"its version is {found}, not {version}")
    if not _is_here(data):
        _log.info("not used, because it is of another boot or network namespace: %s", path)
        return None
    return dict(data)


def write(path: Path, version: int, data: dict[str, Any]) -> None:
    """Replace the file in one step; OSError where it cannot be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}")
    new.write_text(json.dumps({"version": version, **origin(), **data}, indent=1) + "\n")
    new.replace(path)
