"""Tell the service manager the state of the daemon, as sd_notify(3) does, without its library.

Without a service manager, or when its socket is lost, every call does nothing.
"""

import contextlib
import os
import socket
import time

_SEND_TIMEOUT_S = 1.0

EXTENSION_S = 120
"""How long the next step may take: a worker alone has 60 s until it answers."""


def ready(status: str) -> None:
    """Say that start-up or a reload has ended, and its result."""
    _send("READY=1", _status(status))


def reloading() -> None:
    """Say that a reload begins; ``ready`` must follow, whatever happens.

    MONOTONIC_USEC is what ``Type=notify-reload`` waits for since systemd 253: sd_notify(3).
    """
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    _send("RELOADING=1", f"MONOTONIC_USEC={now}", _status("Reloading"))


def working() -> None:
    """Say that a step of a start, reload or stop is done; extends its timeout: sd_notify(3)."""
    _send(f"EXTEND_TIMEOUT_USEC={EXTENSION_S * 10**6}")


def status(text: str) -> None:
    """Set the line that ``systemctl status`` shows."""
    _send(_status(text))


def stopping() -> None:
    """Say that the daemon is going down."""
    _send("STOPPING=1")


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split())


def _send(*assignments: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagram,
    ):
        datagram.settimeout(_SEND_TIMEOUT_S)
        datagram.sendto("\n".join(assignments).encode(), address)
