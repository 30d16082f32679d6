"""Enslaving and freeing: the settings of a slave that are changed, and their earlier values.

IPEQL changes only the reverse path filter of a slave, if it would drop packets that arrive for the
bundle. The next daemon needs the earlier value too, so it is stored in RUNTIME_DIRECTORY.
"""

import errno
import logging
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ipeql import runtime
from ipeql.apply import ipv4
from ipeql.plan import PrepareSlave, ReleaseSlave, RestoreFilter, SetFilter
from ipeql.state import Link

FILE_NAME = "saved-slaves.json"
VERSION = 1

_GONE = (errno.ENODEV, errno.ENXIO, errno.ENOENT)

_log = logging.getLogger(__name__)


class Changed(NamedTuple):
    """An rp_filter that was changed: what it was, and what it was set to."""

    earlier: int
    ours: int


@dataclass(frozen=True, slots=True)
class _Slave:
    """``mac``: another link may have got this ifindex while no daemon ran."""

    mac: str = ""
    changed: Changed | None = None


class SavedSlaves:
    """The enslaved links, by (bundle, ifindex), with the rp_filter of each; None: not changed.

    A file that cannot be read or written is logged. The only consequence: a slave that is freed
    after a restart of the daemon keeps its loose filter.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME
        self._slaves = _read(self._path)
        self._read_from_file = set(self._slaves)

    def prepared(self, links: Mapping[int, Link]) -> frozenset[tuple[str, int]]:
        """Return the enslaved links; those that are not in ``links`` are forgotten.

        A slave of an earlier daemon is forgotten too if another link has its ifindex now.
        """
        slaves = {
            key: replace(slave, mac=links[key[1]].mac)
            for key, slave in self._slaves.items()
            if key[1] in links and self._is_same(key, slave.mac, links[key[1]].mac)
        }
        self._read_from_file.clear()
        if slaves != self._slaves:
            self._slaves = slaves
            self._write()
        return frozenset(self._slaves)

    def _is_same(self, key: tuple[str, int], before: str, now: str) -> bool:
        return key not in self._read_from_file or before in ("", now)

    def loosened(self) -> frozenset[tuple[str, int]]:
        """Return those of the enslaved links whose filter was changed."""
        return frozenset(key for key, slave in self._slaves.items() if slave.changed)

    def restored(self, bundle: str, ifindex: int) -> Changed | None:
        """Note that a slave gets its earlier filter, and return that."""
        slave = self._slaves.get((bundle, ifindex), _Slave())
        self._slaves[bundle, ifindex] = replace(slave, changed=None)
        self._write()
        return slave.changed

    def remember(self, bundle: str, ifindex: int, changed: Changed | None = None) -> None:
        """Note that a slave is enslaved; an earlier value that is already known is kept."""
        slave = self._slaves.get((bundle, ifindex), _Slave())
        if slave.changed and changed:
            changed = changed._replace(earlier=slave.changed.earlier)
        self._slaves[bundle, ifindex] = replace(slave, changed=changed or slave.changed)
        self._write()

    def forget(self, bundle: str, ifindex: int) -> Changed | None:
        """Note that a slave is free, and return the filter to restore.

        If another bundle has the slave now, that bundle restores it later.
        """
        slave = self._slaves.pop((bundle, ifindex), _Slave())
        changed = slave.changed
        heir = next((other for other, index in self._slaves if index == ifindex), None)
        if heir and changed:
            its = self._slaves[heir, ifindex]
            ours = its.changed.ours if its.changed else changed.ours
            handed = Changed(changed.earlier, ours)
            self._slaves[heir, ifindex] = replace(its, changed=handed)
            changed = None
        self._write()
        return changed

    def _write(self) -> None:
        slaves = [
            {"bundle": bundle, "ifindex": ifindex, "mac": slave.mac, "rp_filter": slave.changed}
            for (bundle, ifindex), slave in sorted(self._slaves.items(), key=lambda item: item[0])
        ]
        try:
            runtime.write(self._path, VERSION, {"slaves": slaves})
        except OSError as error:
            _log.warning("cannot write %s: %s", self._path, error.strerror)


def _read(path: Path) -> dict[tuple[str, int], _Slave]:
    try:
        saved = runtime.read(path, VERSION) or {"slaves": []}
        slaves = {}
        for slave in saved["slaves"]:
            rp_filter = slave["rp_filter"]
            changed = None if rp_filter is None else Changed(*map(int, rp_filter))
            key = (str(slave["bundle"]), int(slave["ifindex"]))
            slaves[key] = _Slave(str(slave.get("mac", "")), changed)
        return slaves
    except (OSError, ValueError, TypeError, KeyError) as error:
        _log.warning("cannot use %s, which has the earlier settings of the slaves: %s", path, error)
        return {}


async def prepare(kernel: AsyncIPRoute, saved: SavedSlaves, action: PrepareSlave) -> None:
    """Enslave. A link that has vanished is no error: the next observation shows it."""
    try:
        if action.up:
            await kernel.link("set", index=action.ifindex, state="up")
    except NetlinkError as error:
        if error.code not in _GONE:
            raise
    saved.remember(action.bundle, action.ifindex)


def set_filter(saved: SavedSlaves, action: SetFilter) -> None:
    """Set a slave's reverse path filter. A link that has vanished is no error."""
    try:
        ipv4.change(action.ifindex, ipv4.Setting.RP_FILTER, action.after)
    except OSError as error:
        if error.errno not in _GONE:
            raise
    saved.remember(action.bundle, action.ifindex, Changed(action.before, action.after))


def release(saved: SavedSlaves, action: ReleaseSlave) -> None:
    """Free: restore the filter, unless somebody has changed it since or the link has vanished."""
    _restore(action.ifindex, saved.forget(action.bundle, action.ifindex))


def restore_filter(saved: SavedSlaves, action: RestoreFilter) -> None:
    """Restore the filter in the same way, of a slave that stays."""
    _restore(action.ifindex, saved.restored(action.bundle, action.ifindex))


def _restore(ifindex: int, changed: Changed | None) -> None:
    try:
        if changed and _rp_filter(ifindex) == changed.ours:
            ipv4.change(ifindex, ipv4.Setting.RP_FILTER, changed.earlier)
    except OSError as error:
        if error.errno not in _GONE:
            raise


def _rp_filter(ifindex: int) -> int:
    """Return the setting; from a path, since a name may contain a dot."""
    name = socket.if_indextoname(ifindex)
    return int(Path("/proc/sys/net/ipv4/conf", name, "rp_filter").read_text())
