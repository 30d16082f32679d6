"""The daemon's requests to one worker."""

import errno
import os
import socket
from pathlib import Path
from typing import Any

from ipeql.backends.tun import wire

TIMEOUT_S = 2.0
"""A worker answers between two batches of packets; one that takes this long is stuck."""


class WorkerError(Exception):
    """The worker refused a request, does not answer, or answers what cannot be understood."""


class SilentError(WorkerError):
    """The worker does not answer in time: it is stuck, slow, or starting."""


def request(path: Path, do: str, fields: dict[str, Any] | None = None) -> dict[str, Any]:
    """Send a request to the worker at the socket ``path`` and return its answer.

    Raises ConnectionRefusedError or FileNotFoundError where no worker is left, WorkerError where
    it refuses, and SilentError where it does not answer in time.
    """
    answer, descriptors = _exchange(path, {"do": do} | (fields or {}))
    _close(descriptors)
    return answer


def adopt(path: Path) -> tuple[int, int]:
    """Return (a TUN descriptor, the process id) of the worker at ``path``; raises as above."""
    answer, descriptors = _exchange(path, {"do": "descriptor"})
    pid = answer.get("pid")
    if len(descriptors) == 1 and isinstance(pid, int):
        return descriptors[0], pid
    _close(descriptors)
    raise WorkerError("the worker does not say which device it has")


def _exchange(path: Path, message: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.settimeout(TIMEOUT_S)
        try:
            client.connect(str(path))
            client.send(wire.encode(message))
            data, descriptors, _, _ = socket.recv_fds(client, wire.MAX_MESSAGE, 1)
        except (TimeoutError, BlockingIOError):
            raise SilentError("the worker does not answer") from None
    if not data:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "the worker has gone")
    try:
        answer = wire.decode(data)
        if "error" in answer:
            raise WorkerError(str(answer["error"]))
    except ValueError as error:
        _close(descriptors)
        raise WorkerError("the worker's answer cannot be understood") from error
    except WorkerError:
        _close(descriptors)
        raise
    return answer, descriptors


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
