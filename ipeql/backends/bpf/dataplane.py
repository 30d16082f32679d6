"""One bundle's programs and maps in the kernel, pinned: made, found again, removed.

Everything lies in ``/sys/fs/bpf/ipeql/<bundle>/``; in a network namespace other than the first
process's, one level deeper, under the namespace's inode number.
"""

import contextlib
import ctypes
import errno
import hashlib
import os
import shutil
from functools import cache
from pathlib import Path
from typing import Self

from ipeql.backends.bpf import libbpf

OBJECT = Path(__file__).with_name("ipeql.bpf.o")
BPF_FS = Path("/sys/fs/bpf")
BPF_FS_MAGIC = 0xCAFE4A11
NEEDED_LINUX = (5, 19)
"""The first with bpf_map_lookup_percpu_elem."""

_NETNS = "netns:"
_OLD = "%old"
"""Neither can be part of what a bundle's name is written as."""

_MAPS = ("lanes", "incoming", "neighbours", "document")
_PROGRAMS = ("stripe", "resolve", "configure", "locate")
_TRACES = ("neighbour_updated", "neighbour_timed", "neighbour_gone")
_WATCHES = ("carrier_lost", "link_set_down", "routes_changed")
"""Where a kernel cannot have them (arm64 before 6.4), links and routes are read each time."""
_POINTS = {
    "stripe": (libbpf.BPF_TCX_EGRESS, libbpf.BPF_TC_EGRESS),
    "resolve": (libbpf.BPF_TCX_INGRESS, libbpf.BPF_TC_INGRESS),
}


@cache
def unavailable() -> str:
    """Return why the dataplane cannot run here, or an empty string; by trial, once a process."""
    release = tuple(int(part) for part in os.uname().release.split(".")[:2] if part.isdigit())
    if release < NEEDED_LINUX:
        return f"Linux {os.uname().release} is older than {'.'.join(map(str, NEEDED_LINUX))}"
    if not OBJECT.exists():
        return "IPEQL was built without clang; install clang and libbpf-dev and build it again"
    try:
        libbpf.library()
    except OSError:
        return "libbpf.so.1 is not installed; install libbpf1"
    try:
        left_out()
    except OSError as error:
        return f"the kernel does not load the programs: {error.strerror}"
    return ""


@cache
def left_out() -> tuple[str, ...]:
    """Return the programs to do without here, by trial; OSError where none can be loaded."""
    try:
        with libbpf.Object(OBJECT):
            return ()
    except OSError:
        with libbpf.Object(OBJECT, without=_WATCHES):
            return _WATCHES


@cache
def version() -> str:
    """Return what tells these programs from those of another version; empty: built without any."""
    return hashlib.sha256(OBJECT.read_bytes()).hexdigest()[:16] if OBJECT.exists() else ""


def directory() -> Path:
    """Return where the bundles of this network namespace are pinned."""
    namespace = Path("/proc/thread-self/ns/net").stat().st_ino
    with contextlib.suppress(OSError):
        if Path("/proc/1/ns/net").stat().st_ino == namespace:
            return BPF_FS / "ipeql"
    return BPF_FS / "ipeql" / f"{_NETNS}{namespace}"


def pins(bundle: str) -> Path:
    """Return where a bundle is pinned; a bpf file system allows no dots in names."""
    return directory() / bundle.replace("%", "%25").replace(".", "%2e")


def pinned() -> list[str]:
    """Return the bundles of this network namespace that are pinned, whole or not."""
    with contextlib.suppress(FileNotFoundError, PermissionError):
        found = (path.name for path in directory().iterdir())
        ours = (name for name in found if not name.startswith(_NETNS) and _OLD not in name)
        return sorted(name.replace("%2e", ".").replace("%25", "%") for name in ours)
    return []


def supersede(bundle: str) -> None:
    """Put aside what is pinned for a bundle; it works on until ``remove_superseded``."""
    remove_superseded(bundle)
    path = pins(bundle)
    with contextlib.suppress(FileNotFoundError):
        path.rename(path.with_name(path.name + _OLD))


def remove_superseded(bundle: str) -> None:
    """Remove what was put aside."""
    path = pins(bundle)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path.with_name(path.name + _OLD))


def remove(bundle: str) -> None:
    """Remove what is pinned for a bundle: its programs end with that."""
    remove_superseded(bundle)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(pins(bundle))
    for path in (directory(), BPF_FS / "ipeql"):
        with contextlib.suppress(OSError):
            path.rmdir()


def remove_all() -> None:
    """Remove whatever is pinned for this network namespace."""
    for bundle in pinned():
        remove(bundle)


def mount() -> None:
    """Mount the bpf file system where it is missing, as iproute2 and bpftool do; OSError."""
    if _file_system(BPF_FS) != BPF_FS_MAGIC:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"bpf", os.fsencode(BPF_FS), b"bpf", 0, b"mode=0700"):
            number = ctypes.get_errno()
            raise OSError(number, f"cannot mount {BPF_FS}: {os.strerror(number)}")


def _file_system(path: Path) -> int:
    """Return the magic number of the file system at ``path`` (statfs(2), f_type)."""
    buffer = (ctypes.c_long * 32)()
    if ctypes.CDLL(None, use_errno=True).statfs(os.fsencode(path), buffer):
        number = ctypes.get_errno()
        raise OSError(number, f"{path}: {os.strerror(number)}")
    return int(buffer[0])


class Dataplane:
    """Descriptors of one bundle's pinned programs and maps; a context manager.

    Raises FileNotFoundError where something is missing.
    """

    def __init__(self, bundle: str) -> None:
        self._descriptors: dict[str, int] = {}
        path = pins(bundle)
        self.watched = all((path / name).exists() for name in _WATCHES)
        """Whether the kernel tells the programs of links that go down."""
        try:
            for name in (*_MAPS, *_PROGRAMS):
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
        """Close the descriptors; what is pinned goes on."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()


def create(bundle: str, ifindex: int) -> None:
    """Load a dataplane, attach it to the bundle's device and pin it; OSError leaves nothing."""
    mount()
    path = pins(bundle)
    try:
        path.mkdir(mode=0o700, parents=True)
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
            for name in _POINTS:
                _attach(loaded.program(name), ifindex, name, path)
    except OSError:
        remove(bundle)
        raise


def _attach(program: int, ifindex: int, name: str, path: Path) -> None:
    tcx, classic = _POINTS[name]
    try:
        link = libbpf.attach(program, ifindex, tcx)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        libbpf.attach_classic(program, ifindex, classic)
    else:
        _pin_link(link, path / f"{name}_link")


def _pin_link(link: int, path: Path) -> None:
    try:
        libbpf.pin(link, path)
    finally:
        os.close(link)
