"""One dataplane in the kernel: load, pin, attach and find its programs and maps."""

import contextlib
import errno
import hashlib
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Self

from ipeql.backends.bpf import libbpf, pins

OBJECT = Path(__file__).with_name("ipeql.bpf.o")
NEEDED_LINUX = (5, 19)
"""The first with bpf_map_lookup_percpu_elem."""

_MAPS = ("lanes", "incoming", "neighbours", "document")
_PROGRAMS = ("stripe", "resolve", "configure", "locate")
_TRACES = ("neighbour_updated", "neighbour_timed", "neighbour_gone")
_WATCHES = ("carrier_lost", "link_set_down", "routes_changed")
"""Without them (arm64 before 6.4), links and routes are read for every packet."""
_POINTS = {
    "stripe": (libbpf.BPF_TCX_EGRESS, libbpf.BPF_TC_EGRESS),
    "resolve": (libbpf.BPF_TCX_INGRESS, libbpf.BPF_TC_INGRESS),
}

_LINK = "_link"
"""Suffix of a program's name: the link that attaches it to its device."""


@cache
def unavailable() -> str:
    """Return why the dataplane cannot run here, or an empty string; tried once per process."""
    release = tuple(int(part) for part in os.uname().release.split(".")[:2] if part.isdigit())
    if release < NEEDED_LINUX:
        return f"Linux {os.uname().release} is older than {'.'.join(map(str, NEEDED_LINUX))}"
    if not OBJECT.exists():
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
    try:
        left_out()
    except OSError as error:
        return f"the kernel does not load the programs: {error.strerror}"
    return ""


@cache
def left_out() -> tuple[str, ...]:
    """Return the programs that cannot be loaded here, by trial; OSError: none can."""
    try:
        with libbpf.Object(OBJECT):
            return ()
    except OSError:
        with libbpf.Object(OBJECT, without=_WATCHES):
            return _WATCHES


@cache
def version() -> str:
    """Return what identifies the version of these programs; empty: built without any."""
    return hashlib.sha256(OBJECT.read_bytes()).hexdigest()[:16] if OBJECT.exists() else ""


class Dataplane:
    """Descriptors of the programs and maps that are pinned at ``path``; a context manager.

    All of them, or those named. Raises FileNotFoundError where something is missing.
    """

    def __init__(self, path: Path, names: Sequence[str] = (*_MAPS, *_PROGRAMS)) -> None:
        self._path = path
        self._descriptors: dict[str, int] = {}
        self.watched = all((path / name).exists() for name in _WATCHES)
        """Whether the kernel informs the programs about links that go down."""
        try:
            for name in names:
                self._descriptors[name] = libbpf.get(path / name)
        except OSError:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return the dataplane."""
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

    def attach(self, ifindex: int) -> None:
        """Attach the programs to a device; OSError.

        Another dataplane that is attached by tcx works until its pins are removed. By clsact
        (before Linux 6.6) each program replaces the older one in one step.
        """
        for name, (tcx, classic) in _POINTS.items():
            path = self._path / f"{name}{_LINK}"
            if path.exists():
                continue
            try:
                link = libbpf.attach(self[name], ifindex, tcx)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                libbpf.attach_classic(self[name], ifindex, classic)
            else:
                _pin_link(link, path)

    def is_attached(self, ifindex: int) -> bool:
        """Say whether the programs are attached: other programs can remove those of clsact."""
        return all(
            (self._path / f"{name}{_LINK}").exists()
            or libbpf.is_attached_classic(self[name], ifindex, classic)
            for name, (_, classic) in _POINTS.items()
        )


def load(path: Path) -> None:
    """Load a dataplane and pin it at ``path``, an empty directory. OSError leaves nothing there."""
    try:
        with libbpf.Object(OBJECT, without=left_out()) as loaded:
            for name in _MAPS:
                libbpf.pin(loaded.map(name), path / name)
            for name in _PROGRAMS:
                libbpf.pin(loaded.program(name), path / name)
            for name in _TRACES:
                _pin_link(loaded.trace(name), path / name)
            with contextlib.suppress(OSError):
                for name in set(_WATCHES) - set(left_out()):
                    _pin_link(loaded.trace(name), path / name)
    except OSError:
        pins.remove_tree(path)
        raise


def _pin_link(link: int, path: Path) -> None:
    try:
        libbpf.pin(link, path)
    finally:
        os.close(link)
