"""Named network namespaces, as ``ip-netns(8)`` keeps them under /run/netns."""

import ctypes
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from os.path import samestat
from pathlib import Path
from typing import TypeVar

from pyroute2 import config, netns

T = TypeVar("T")

RUN = Path("/run/netns")
_LIBC = ctypes.CDLL(None, use_errno=True)
"""Given to pyroute2, which would have ldconfig look for it, in every process."""

config.default_communicate_timeout = 600
"""Seconds that pyroute2 waits for a process that it forks: an emulated one takes its time."""


def create(name: str) -> None:
    """Make the namespace ``name``; OSError if it exists or we lack the privilege."""
    netns.create(name, _LIBC)


def remove(name: str) -> None:
    """Remove the name; the namespace ends with its last process and socket."""
    with suppress(FileNotFoundError):
        netns.remove(name, _LIBC)


def pids(name: str) -> list[int]:
    """Return the processes inside ``name``; none if there is no such namespace."""
    found = []
    with suppress(FileNotFoundError):
        namespace = (RUN / name).stat()
        for path in Path("/proc").glob("[0-9]*/ns/net"):
            with suppress(OSError):  # it has ended meanwhile
                if samestat(path.stat(), namespace):
                    found.append(int(path.parts[2]))
    return found


def end(name: str) -> None:
    """Kill the processes inside ``name``, other than the caller's, and remove it."""
    for pid in pids(name):
        if pid != os.getpid():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    remove(name)


def names() -> list[str]:
    """Return the names there are."""
    return sorted(path.name for path in RUN.iterdir()) if RUN.is_dir() else []


@contextmanager
def enter(name: str) -> Iterator[None]:
    """Move the calling thread into ``name`` and back; other threads stay where they are.

    Sockets opened inside stay inside. OSError if there is no such namespace.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        netns.setns(name, flags=0)
        try:
            yield
        finally:
            netns.setns(home)
    finally:
        os.close(home)


def inside(name: str, function: Callable[[], T]) -> T:
    """Return ``function()`` as run by a thread of its own inside ``name``; exceptions pass."""
    results: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            with enter(name):
                results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=body, name=f"netns {name}")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
