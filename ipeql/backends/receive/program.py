"""The receiving program of one bundle in the kernel: load, pin, attach to slaves, detach."""

import contextlib
from functools import cache
from pathlib import Path

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ipeql.backends.ebpf import libbpf, pinned
from ipeql.backends.ebpf.pinned import INGRESS, Pinned

OBJECT = Path(__file__).with_name("receive.bpf.o")
_MAPS = ("receiver", "target", "sources", "locals", "members", "lanes", "document")
_PROGRAMS = ("receive", "receive_bare")
_SLAVE = "slave-"
"""Prefix of the links that attach a program to a slave; its ifindex follows."""

_CLSACT_INGRESS, _CLSACT_EGRESS = (
    0xFFFFFFF2,
    0xFFFFFFF3,
)  # TC_H_CLSACT with TC_H_MIN_INGRESS and _EGRESS


@cache
def unavailable() -> str:
    """Return why the program cannot run here, or an empty string; tried once per process."""
    if reason := pinned.missing(OBJECT):
        return reason
    try:
        with libbpf.Object(OBJECT):
            return ""
    except OSError as error:
        return f"the kernel does not load the receiving program: {error.strerror}"


def version() -> str:
    """Return what identifies the version of the program."""
    return pinned.version(OBJECT)


class Program(Pinned):
    """Descriptors of the programs and maps that are pinned at ``path``; a context manager.

    Raises FileNotFoundError where something is missing.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, (*_MAPS, *_PROGRAMS))

    def attach(self, ifindex: int, bare: bool) -> bool:
        """Attach to a slave's ingress; ``bare``: it has no link header. OSError.

        Return whether the slave's clsact queueing discipline was made for it (before Linux 6.6).
        """
        return self.attach_at(_name(bare), ifindex, INGRESS, f"{_SLAVE}{ifindex}")

    def is_attached(self, ifindex: int, bare: bool) -> bool:
        """Say whether it is attached to a slave: other programs can remove it from clsact."""
        return self.is_attached_at(_name(bare), ifindex, INGRESS, f"{_SLAVE}{ifindex}")

    async def detach(self, ifindex: int, made: bool) -> None:
        """Detach from a slave, which may be gone; ``made``: as ``attach`` returned."""
        path = self._path / f"{_SLAVE}{ifindex}"
        if path.exists():
            path.unlink()
            return
        with contextlib.suppress(OSError):
            libbpf.detach_classic(ifindex, libbpf.BPF_TC_INGRESS)
            if made and not await _has_filters(ifindex):
                libbpf.remove_classic(ifindex)


def _name(bare: bool) -> str:
    return "receive_bare" if bare else "receive"


async def _has_filters(ifindex: int) -> bool:
    """Say whether the clsact queueing discipline of a device has filters of others."""
    async with AsyncIPRoute() as kernel:
        for parent in (_CLSACT_INGRESS, _CLSACT_EGRESS):
            try:
                if [each async for each in await kernel.get_filters(ifindex, 0, parent)]:
                    return True
            except NetlinkError:
                return True
    return False


def load(path: Path) -> None:
    """Load the program and pin it at ``path``, an empty directory; OSError."""
    with libbpf.Object(OBJECT) as loaded:
        for name in _MAPS:
            libbpf.pin(loaded.map(name), path / name)
        for name in _PROGRAMS:
            libbpf.pin(loaded.program(name), path / name)
