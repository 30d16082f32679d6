"""Programs and maps that are pinned in one directory: their descriptors, and attaching them."""

import errno
import hashlib
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple, Self

from ipeql.backends.ebpf import libbpf, pins


class Point(NamedTuple):
    """A place on a device for a program: by tcx (from Linux 6.6 on), and by clsact."""

    tcx: int
    classic: int


EGRESS = Point(libbpf.BPF_TCX_EGRESS, libbpf.BPF_TC_EGRESS)
INGRESS = Point(libbpf.BPF_TCX_INGRESS, libbpf.BPF_TC_INGRESS)


def missing(built: Path) -> str:
    """Return what keeps the programs of the object file ``built`` from being pinned, or nothing."""
    if not built.exists():
        return "IPEQL was built without clang; install clang and libbpf-dev and build it again"
    try:
        libbpf.library()
    except OSError:
        return "libbpf.so.1 is not installed; install libbpf1"
    if pins.is_private():
        return (
            f"{pins.BPF_FS} is not mounted in this mount namespace, which 'ip netns exec' makes "
            "anew for each command; use nsenter --net=/run/netns/NAME"
        )
    return ""


@cache
def version(built: Path) -> str:
    """Return what identifies the version of an object file; empty: there is none."""
    return hashlib.sha256(built.read_bytes()).hexdigest()[:16] if built.exists() else ""


def pin_link(link: int, path: Path) -> None:
    """Pin a link and close its descriptor; OSError."""
    try:
        libbpf.pin(link, path)
    finally:
        os.close(link)


class Pinned:
    """Descriptors of what is pinned at ``path`` under ``names``; a context manager.

    Raises FileNotFoundError where something is missing.
    """

    def __init__(self, path: Path, names: Iterable[str]) -> None:
        self._path = path
        self._descriptors: dict[str, int] = {}
        try:
            for name in names:
                self._descriptors[name] = libbpf.get(path / name)
        except OSError:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return this."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the descriptors."""
        self.close()

    def __getitem__(self, name: str) -> int:
        """Return the descriptor of a program or map."""
        return self._descriptors[name]

    def close(self) -> None:
        """Close the descriptors; pinned programs keep working."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()

    def attach_at(self, name: str, ifindex: int, point: Point, link: str) -> bool:
        """Attach a program to a device; OSError. ``link``: the name of the pin, if by tcx.

        Return whether the device's clsact queueing discipline was made for it. By clsact it takes
        the place of one attached before, in one step.
        """
        path = self._path / link
        if path.exists():
            return False
        try:
            attached = libbpf.attach(self[name], ifindex, point.tcx)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return libbpf.attach_classic(self[name], ifindex, point.classic)
        pin_link(attached, path)
        return False

    def is_attached_at(self, name: str, ifindex: int, point: Point, link: str) -> bool:
        """Say whether a program is attached: other programs can remove those of clsact."""
        return (self._path / link).exists() or libbpf.is_attached_classic(
            self[name], ifindex, point.classic
        )
