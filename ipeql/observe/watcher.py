"""Events of changed links, addresses, rules, default and our routes, and rp_filter.

A dump reads the new state.

An event only means "observe again". So events are not decoded, and a lost event does no harm. A
socket filter in the kernel drops the other routes of others, as FRR's zebra drops its own
(zebra/kernel_netlink.c, netlink_install_filter): changes of a full routing table do not wake us.
"""

import asyncio
import ctypes
import logging
import socket
import struct
from types import TracebackType
from typing import Self

from pyroute2.netlink.rtnl import (
    RTM_DELROUTE,
    RTM_NEWROUTE,
    RTMGRP_IPV4_IFADDR,
    RTMGRP_IPV4_ROUTE,
    RTMGRP_IPV4_RULE,
    RTMGRP_IPV6_IFADDR,
    RTMGRP_IPV6_ROUTE,
    RTMGRP_LINK,
)

from ipeql.state import PROTOCOL

_log = logging.getLogger(__name__)

_RTMGRP_IPV4_NETCONF = 1 << 23  # include/uapi/linux/rtnetlink.h: RTNLGRP_IPV4_NETCONF is 24
_RTMGRP_IPV6_RULE = 1 << 18  # RTNLGRP_IPV6_RULE is 19
_GROUPS = (
    RTMGRP_LINK
    | RTMGRP_IPV4_IFADDR
    | RTMGRP_IPV6_IFADDR
    | RTMGRP_IPV4_ROUTE
    | RTMGRP_IPV6_ROUTE
    | RTMGRP_IPV4_RULE
    | _RTMGRP_IPV6_RULE
    | _RTMGRP_IPV4_NETCONF
)
_SO_ATTACH_FILTER = 26  # include/uapi/asm-generic/socket.h; the Python module has neither
_SO_RCVBUFFORCE = 33

RECEIVE_BUFFER = 8 << 20
"""Bytes; some 4000 link messages. Forced past net.core.rmem_max, which needs CAP_NET_ADMIN."""

_DAMPING = 0.003  # seconds: one `ip link` command makes several events
_DRAIN = 256  # messages read before the event loop runs again
_REOPEN_AFTER = 1.0  # seconds until the next try to open a socket


class Watcher:
    """An async context manager that knows whether something changed since it was last asked.

    ``receive_buffer``: bytes asked for the socket. When the kernel had to drop events (ENOBUFS) or
    the socket failed, it is opened again, which is logged and counted in ``resyncs``, and
    everything counts as changed.
    """

    def __init__(self, receive_buffer: int = RECEIVE_BUFFER) -> None:
        self.resyncs = 0
        self._receive_buffer = receive_buffer
        self._changed = asyncio.Event()
        self._socket: socket.socket | None = None
        self._reopening: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    async def changed(self) -> None:
        """Wait until something changed since the last return; a burst of changes counts once."""
        await self._changed.wait()
        await asyncio.sleep(_DAMPING)
        self._changed.clear()

    def _open(self) -> None:
        self._socket = _subscribed(self._receive_buffer)
        asyncio.get_running_loop().add_reader(self._socket, self._drain, self._socket)

    def _close(self) -> None:
        if self._reopening:
            self._reopening.cancel()
        if self._socket:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _drain(self, events: socket.socket) -> None:
        self._changed.set()
        try:
            for _ in range(_DRAIN):
                events.recv(1)  # the rest of the message is discarded
        except BlockingIOError:
            return
        except OSError as error:
            self.resyncs += 1
            _log.warning("kernel events were lost (%s); everything is read again", error.strerror)
            self._reopen()

    def _reopen(self) -> None:
        """Open the socket again; until that succeeds, observe once per try."""
        self._close()
        try:
            self._open()
        except OSError:
            loop = asyncio.get_running_loop()
            self._reopening = loop.call_later(_REOPEN_AFTER, self._reopen)
        self._changed.set()


def _subscribed(receive_buffer: int) -> socket.socket:
    """Return a non-blocking rtnetlink socket with all events that we need."""
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    sock = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
    try:
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, receive_buffer)
        except PermissionError:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        _attach_filter(sock)
        sock.bind((0, _GROUPS))
    except OSError:
        sock.close()
        raise
    return sock


def _attach_filter(sock: socket.socket) -> None:
    """Let the kernel drop messages of routes that are neither ours nor default routes.

    Classic BPF (Documentation/networking/filter.rst): loads are big-endian, netlink is not.
    """
    load_half, load_byte, equal, give = 0x28, 0x30, 0x15, 0x06
    message_type, rtm_dst_len, rtm_protocol = 4, 16 + 1, 16 + 5
    program = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (load_half, 0, 0, message_type),
            (equal, 1, 0, socket.htons(RTM_NEWROUTE)),
            (equal, 0, 4, socket.htons(RTM_DELROUTE)),
            (load_byte, 0, 0, rtm_dst_len),
            (equal, 2, 0, 0),
            (load_byte, 0, 0, rtm_protocol),
            (equal, 0, 1, PROTOCOL),
            (give, 0, 0, 0xFFFFFFFF),
            (give, 0, 0, 0),
        )
    )
    code = ctypes.create_string_buffer(program, len(program))
    fprog = struct.pack("HP", len(program) // 8, ctypes.addressof(code))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)
