"""Where the dataplanes of this network namespace are pinned, and moving and removing pins.

A bundle's dataplane is in ``/sys/fs/bpf/ipeql/netns:<inode>/<bundle>/``. The inode number is that
of the network namespace; every process in it can read it, without any capability. A dataplane that
is being made has another name beside it until it is attached.
"""

import contextlib
import ctypes
import os
import shutil
from pathlib import Path

BPF_FS = Path("/sys/fs/bpf")
BPF_FS_MAGIC = 0xCAFE4A11

RECEIVER = "%receive"
"""Suffix of the directory of a bundle's receiver, which every dataplane may have."""

_NEW, _OLD = "%new", "%old"
"""Suffixes that no directory of a bundle has."""

_TRIES = 20
"""Another network namespace may remove the directory of all of them just before ours is in it."""


def directory() -> Path:
    """Return where the bundles of this network namespace are pinned."""
    return BPF_FS / "ipeql" / f"netns:{Path('/proc/thread-self/ns/net').stat().st_ino}"


def of(bundle: str, part: str = "") -> Path:
    """Return where a bundle is pinned; a bpf file system allows no dots in names.

    ``part``: its dataplane, or its ``RECEIVER``.
    """
    return directory() / (bundle.replace("%", "%25").replace(".", "%2e") + part)


def beside(bundle: str, part: str = "") -> Path:
    """Return an empty directory for what is being made; OSError."""
    mount()
    path = of(bundle, part)
    path = path.with_name(path.name + _NEW)
    remove_tree(path)
    for left in reversed(range(_TRIES)):
        try:
            path.mkdir(mode=0o700, parents=True)
            break
        except FileNotFoundError:
            if not left:
                raise
    return path


def put_in_force(bundle: str, made: Path, part: str = "") -> None:
    """Move what is at ``made`` to the bundle's directory; the older one there ends."""
    path = of(bundle, part)
    old = path.with_name(path.name + _OLD)
    remove_tree(old)
    with contextlib.suppress(FileNotFoundError):
        path.rename(old)
    made.rename(path)
    remove_tree(old)


def pinned(part: str = "") -> list[str]:
    """Return the bundles of this network namespace that are pinned, complete or not."""
    found = {name.removesuffix(_NEW).removesuffix(_OLD) for name in _names()}
    parts = {name.removesuffix(part) for name in found if name.endswith(part)}
    names = (name for name in parts if not name.endswith(RECEIVER))
    return sorted(name.replace("%2e", ".").replace("%25", "%") for name in names)


def _names() -> list[str]:
    with contextlib.suppress(FileNotFoundError, PermissionError):
        return [path.name for path in directory().iterdir()]
    return []


def remove(bundle: str, part: str = "") -> None:
    """Remove the pins of a bundle, which ends its programs; OSError."""
    path = of(bundle, part)
    for each in (path, path.with_name(path.name + _NEW), path.with_name(path.name + _OLD)):
        remove_tree(each)
    _remove_empty()


def discard(made: Path) -> None:
    """Remove what was being made in a directory that ``beside`` returned; OSError."""
    remove_tree(made)
    _remove_empty()


def remove_all() -> None:
    """Remove all pins of this network namespace, complete or not; OSError."""
    remove_tree(directory())
    _remove_empty()


def _remove_empty() -> None:
    for parent in (directory(), BPF_FS / "ipeql"):
        with contextlib.suppress(OSError):
            parent.rmdir()


def remove_tree(path: Path) -> None:
    """Remove a directory of pins where there is one; OSError."""
    if path.exists():
        shutil.rmtree(path)


def is_private() -> bool:
    """Say whether pins would end with the caller's mount namespace.

    ``ip netns exec NAME`` runs a command in a new mount namespace, with a /sys whose source is
    called NAME: iproute2, lib/namespace.c, netns_switch().
    """
    source = ""
    for line in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines():
        before, _, after = line.partition(" - ")
        if before.split()[4] == "/sys":
            _, source, *_ = after.split()
    if not source or not Path("/run/netns", source).is_file():
        return False
    try:
        return _file_system(BPF_FS) != BPF_FS_MAGIC
    except OSError:
        return True


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
