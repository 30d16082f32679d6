"""What leaves a host over one link, and when."""

import socket
import struct
import time
from types import TracebackType
from typing import Self

from lab.network.emulator import ETH_P_ALL, SO_RCVBUFFORCE
from lab.network.endpoints import SECOND, STAMP
from lab.network.host import Host

SO_TIMESTAMPNS = 35
BUFFER = 64 << 20
HEADERS = 14 + 20 + 8
_TIMESPEC = struct.Struct("qq")


class Tap:
    """Keeps what is sent over ``link`` while the context lasts; only UDP over IPv4 is looked at."""

    def __init__(self, host: Host, link: str) -> None:
        self._host = host
        self._link = link

    def __enter__(self) -> Self:
        """Begin; OSError where there is no such link."""
        self._socket = self._host.call(self._open)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Forget all."""
        self._socket.close()

    def _open(self) -> socket.socket:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.setblocking(False)
        sock.bind((self._link, ETH_P_ALL))
        return sock

    def datagrams(self, port: int) -> list[tuple[int, int]]:
        """Return the datagrams of a test stream to ``port`` since the last call.

        Of each: when it was sent, ns of CLOCK_MONOTONIC, and its number.
        """
        ahead = time.time_ns() - time.monotonic_ns()
        found: list[tuple[int, int]] = []
        while True:
            try:
                frame, controls, _, (_, _, kind, *_) = self._socket.recvmsg(
                    HEADERS + STAMP.size, socket.CMSG_SPACE(_TIMESPEC.size)
                )
            except BlockingIOError:
                return found
            if kind != socket.PACKET_OUTGOING or frame[12:15] != b"\x08\x00\x45":
                continue
            if frame[23] != socket.IPPROTO_UDP or frame[36:38] != port.to_bytes(2, "big"):
                continue
            seconds, rest = _TIMESPEC.unpack(controls[0][2])
            number, _ = STAMP.unpack_from(frame, HEADERS)
            found.append((seconds * SECOND + rest - ahead, number))
