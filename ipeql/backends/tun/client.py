"""The daemon's side of the conversation with one worker."""

import errno
import socket
from pathlib import Path
from typing import Any

from ipeql.backends.tun import wire

TIMEOUT_S = 2.0
"""A worker answers between two batches of packets; one that takes this long is stuck."""


class WorkerError(Exception):
    """The worker refused a request, or does not answer."""


def request(path: Path, do: str, **fields: Any) -> dict[str, Any]:
    """Ask the worker behind ``path`` and return its answer.

    Raises ConnectionRefusedError or FileNotFoundError where no worker is left, WorkerError where
    it refuses or does not answer in time.
    """
    answer, descriptors = _exchange(path, {"do": do, **fields})
    for descriptor in descriptors:
        socket.socket(fileno=descriptor).close()
    return answer


def adopt(path: Path) -> tuple[int, int]:
    """Return (a TUN descriptor, the process id) of the worker behind ``path``; raises as above."""
    answer, descriptors = _exchange(path, {"do": "descriptor"})
    return descriptors[0], answer["pid"]


def _exchange(path: Path, message: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.settimeout(TIMEOUT_S)
        client.connect(str(path))
        try:
            client.send(wire.encode(message))
            data, descriptors, _, _ = socket.recv_fds(client, wire.MAX_MESSAGE, 1)
        except TimeoutError:
            raise WorkerError("the worker does not answer") from None
    if not data:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "the worker has gone")
    answer = wire.decode(data)
    if "error" in answer:
        raise WorkerError(answer["error"])
    return answer, descriptors
