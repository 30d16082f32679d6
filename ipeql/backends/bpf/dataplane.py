"""One dataplane in the kernel: load, pin, attach and find its programs and maps."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ipeql.backends.ebpf import libbpf, pinned
from ipeql.backends.ebpf.pinned import EGRESS, INGRESS, Pinned, Point, pin_link

OBJECT = Path(__file__).with_name("ipeql.bpf.o")
NEEDED_LINUX = (5, 19)
"""The first with bpf_map_lookup_percpu_elem."""

_MAPS = ("lanes", "serialised", "incoming", "origins", "neighbours", "flows", "document")
_PROGRAMS = ("stripe", "resolve", "release", "configure", "adjust", "locate")
_TRACES = ("neighbour_updated", "neighbour_timed", "neighbour_gone")
_WATCHES = ("carrier_lost", "link_set_down", "routes_changed")
"""Without them (arm64 before 6.4), links and routes are read for every packet."""


class Points(NamedTuple):
    """Where which programs are attached to one device, and the suffix of the pins for that."""

    suffix: str
    programs: Mapping[str, Point]


DEVICE = Points("_link", {"stripe": EGRESS, "resolve": INGRESS})
"""The bundle's device."""

HOLDER = Points("_holder", {"release": EGRESS, "resolve": INGRESS})
"""The lower device of the one that holds packets."""


@cache
def unavailable() -> str:
    """Return why the dataplane cannot run here, or an empty string; tried once per process."""
    release = tuple(int(part) for part in os.uname().release.split(".")[:2] if part.isdigit())
    if release < NEEDED_LINUX:
        return f"Linux {os.uname().release} is older than {'.'.join(map(str, NEEDED_LINUX))}"
    if reason := pinned.missing(OBJECT):
        return reason
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


def version() -> str:
    """Return what identifies the version of these programs; empty: built without any."""
    return pinned.version(OBJECT)


class Dataplane(Pinned):
    """Descriptors of the programs and maps that are pinned at ``path``; a context manager.

    All of them, or those named. Raises FileNotFoundError where something is missing.
    """

    def __init__(self, path: Path, names: Sequence[str] = (*_MAPS, *_PROGRAMS)) -> None:
        super().__init__(path, names)
        self.watched = all((path / name).exists() for name in _WATCHES)
        """Whether the kernel informs the programs about links that go down."""

    def attach(self, points: Points, ifindex: int, anew: bool = False) -> None:
        """Attach programs to a device; OSError. ``anew``: what was attached before is gone.

        Another dataplane that is attached by tcx works until its pins are removed.
        """
        for name, point in points.programs.items():
            link = f"{name}{points.suffix}"
            if anew:
                (self._path / link).unlink(missing_ok=True)
            self.attach_at(name, ifindex, point, link)

    def is_attached(self, points: Points, ifindex: int) -> bool:
        """Say whether programs are attached: other programs can remove those of clsact."""
        return all(
            self.is_attached_at(name, ifindex, point, f"{name}{points.suffix}")
            for name, point in points.programs.items()
        )


def load(path: Path) -> None:
    """Load a dataplane and pin it at ``path``, an empty directory; OSError."""
    with libbpf.Object(OBJECT, without=left_out()) as loaded:
        for name in _MAPS:
            libbpf.pin(loaded.map(name), path / name)
        for name in _PROGRAMS:
            libbpf.pin(loaded.program(name), path / name)
        for name in _TRACES:
            pin_link(loaded.trace(name), path / name)
        with contextlib.suppress(OSError):
            for name in set(_WATCHES) - set(left_out()):
                pin_link(loaded.trace(name), path / name)
