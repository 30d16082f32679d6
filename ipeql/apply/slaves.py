"""Enslaving and freeing: what is changed of a slave, and how it was before.

Of a slave's settings IPEQL changes the reverse path filter alone, where it would drop what arrives
for the bundle. The earlier value has to outlive the daemon: it is kept in RUNTIME_DIRECTORY.
"""

import errno
import json
import logging
import socket
from collections.abc import Container
from pathlib import Path
from typing import NamedTuple

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ipeql.plan import PrepareSlave, ReleaseSlave

FILE_NAME = "saved-slaves.json"
VERSION = 1

_GONE = (errno.ENODEV, errno.ENXIO, errno.ENOENT)

_log = logging.getLogger(__name__)


class Changed(NamedTuple):
    """An rp_filter that was changed: what it was, and what it was set to."""

    earlier: int
    ours: int


class SavedSlaves:
    """The enslaved, by (bundle, ifindex), and each one's rp_filter; None: left as it is.

    A file that cannot be read or written is logged, never fatal: what is lost by it is that a slave
    freed after a restart of the daemon keeps its loose filter.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME
        self._slaves = _read(self._path)

    def prepared(self, ifindexes: Container[int]) -> frozenset[tuple[str, int]]:
        """Return who is enslaved; links that are not among ``ifindexes`` are forgotten."""
        self._slaves = {key: old for key, old in self._slaves.items() if key[1] in ifindexes}
        return frozenset(self._slaves)

    def remember(self, bundle: str, ifindex: int, changed: Changed | None) -> None:
        """Note that a slave is enslaved; an earlier value that is already known stands."""
        before = self._slaves.get((bundle, ifindex))
        if before and changed:
            changed = changed._replace(earlier=before.earlier)
        self._slaves[bundle, ifindex] = changed or before
        self._write()

    def forget(self, bundle: str, ifindex: int) -> Changed | None:
        """Note that a slave is free, and return how its filter was changed."""
        changed = self._slaves.pop((bundle, ifindex), None)
        self._write()
        return changed

    def _write(self) -> None:
        slaves = [
            {"bundle": bundle, "ifindex": ifindex, "rp_filter": changed}
            for (bundle, ifindex), changed in sorted(self._slaves.items(), key=lambda item: item[0])
        ]
        new = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(json.dumps({"version": VERSION, "slaves": slaves}, indent=1) + "\n")
            new.replace(self._path)
        except OSError as error:
            _log.warning("cannot write %s: %s", self._path, error.strerror)


def _read(path: Path) -> dict[tuple[str, int], Changed | None]:
    try:
        saved = json.loads(path.read_text())
        if saved["version"] != VERSION:
            raise ValueError(f"version {saved['version']} is not {VERSION}")
        slaves = {}
        for slave in saved["slaves"]:
            rp_filter = slave["rp_filter"]
            key = (str(slave["bundle"]), int(slave["ifindex"]))
            slaves[key] = None if rp_filter is None else Changed(*map(int, rp_filter))
        return slaves
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError) as error:
        _log.warning("cannot use %s, which says how the slaves were before: %s", path, error)
        return {}


def _rp_filter(ifindex: int) -> Path:
    """Return the setting's file; the path form, since a name may contain a dot."""
    return Path("/proc/sys/net/ipv4/conf", socket.if_indextoname(ifindex), "rp_filter")


async def prepare(kernel: AsyncIPRoute, saved: SavedSlaves, action: PrepareSlave) -> None:
    """Enslave. A link that is gone meanwhile is no error: the next observation shows it."""
    try:
        if action.up:
            await kernel.link("set", index=action.ifindex, state="up")
        setting = _rp_filter(action.ifindex)
        earlier = int(setting.read_text())
        changed = None if action.rp_filter is None else Changed(earlier, action.rp_filter)
        saved.remember(action.bundle, action.ifindex, changed)
        if changed:
            setting.write_text(str(changed.ours))
    except (NetlinkError, OSError) as error:
        if _number(error) not in _GONE:
            raise


async def release(kernel: AsyncIPRoute, saved: SavedSlaves, action: ReleaseSlave) -> None:
    """Free: put the filter back, unless somebody has changed it since or the link is gone."""
    changed = saved.forget(action.bundle, action.ifindex)
    try:
        if changed:
            setting = _rp_filter(action.ifindex)
            if int(setting.read_text()) == changed.ours:
                setting.write_text(str(changed.earlier))
        if action.down:
            await kernel.link("set", index=action.ifindex, state="down")
    except (NetlinkError, OSError) as error:
        if _number(error) not in _GONE:
            raise


def _number(error: NetlinkError | OSError) -> int:
    return error.code if isinstance(error, NetlinkError) else error.errno or 0
