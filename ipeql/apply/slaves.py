"""Enslaving and freeing: what is changed of a slave, and how it was before.

Of a slave's settings IPEQL changes the reverse path filter alone, from strict to loose. The earlier
value has to outlive the daemon, so it is kept in RUNTIME_DIRECTORY.
"""

import errno
import json
import logging
import socket
from collections.abc import Container
from pathlib import Path

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ipeql.plan import PrepareSlave, ReleaseSlave

FILE_NAME = "saved-slaves.json"
VERSION = 1

_LOOSE = 2
"""Documentation/networking/ip-sysctl.rst, rp_filter: 1 is strict; the larger of all/link counts."""

_GONE = (errno.ENODEV, errno.ENXIO, errno.ENOENT)

_log = logging.getLogger(__name__)


class SavedSlaves:
    """The enslaved, by (bundle, ifindex), and each one's earlier rp_filter; None: left as it is.

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

    def remember(self, bundle: str, ifindex: int, rp_filter: int | None) -> None:
        """Note that a slave is enslaved; an earlier value that is already known stands."""
        if self._slaves.get((bundle, ifindex)) is None:
            self._slaves[bundle, ifindex] = rp_filter
            self._write()

    def forget(self, bundle: str, ifindex: int) -> int | None:
        """Note that a slave is free, and return its earlier value."""
        rp_filter = self._slaves.pop((bundle, ifindex), None)
        self._write()
        return rp_filter

    def _write(self) -> None:
        slaves = [
            {"bundle": bundle, "ifindex": ifindex, "rp_filter": rp_filter}
            for (bundle, ifindex), rp_filter in sorted(
                self._slaves.items(), key=lambda item: item[0]
            )
        ]
        new = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(json.dumps({"version": VERSION, "slaves": slaves}, indent=1) + "\n")
            new.replace(self._path)
        except OSError as error:
            _log.warning("cannot write %s: %s", self._path, error.strerror)


def _read(path: Path) -> dict[tuple[str, int], int | None]:
    try:
        saved = json.loads(path.read_text())
        if saved["version"] != VERSION:
            raise ValueError(f"version {saved['version']} is not {VERSION}")
        slaves = {}
        for slave in saved["slaves"]:
            rp_filter = slave["rp_filter"]
            key = (str(slave["bundle"]), int(slave["ifindex"]))
            slaves[key] = None if rp_filter is None else int(rp_filter)
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
        saved.remember(action.bundle, action.ifindex, earlier if action.loosen else None)
        if action.loosen:
            setting.write_text(str(_LOOSE))
    except (NetlinkError, OSError) as error:
        if _number(error) not in _GONE:
            raise


async def release(kernel: AsyncIPRoute, saved: SavedSlaves, action: ReleaseSlave) -> None:
    """Free: put the filter back, unless somebody has changed it since or the link is gone."""
    earlier = saved.forget(action.bundle, action.ifindex)
    try:
        if earlier is not None:
            setting = _rp_filter(action.ifindex)
            if int(setting.read_text()) == _LOOSE:
                setting.write_text(str(earlier))
        if action.down:
            await kernel.link("set", index=action.ifindex, state="down")
    except (NetlinkError, OSError) as error:
        if _number(error) not in _GONE:
            raise


def _number(error: NetlinkError | OSError) -> int:
    return error.code if isinstance(error, NetlinkError) else error.errno or 0
