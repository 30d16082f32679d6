"""The kernel's events of the slaves' links and neighbours, and of routes over the bundle.

A filter in the kernel drops all other events: other links, neighbours and routes may change a
thousand times a second.
"""

import ctypes
import errno
import os
import socket
import struct
import sys
from collections.abc import Iterable, Iterator

from ipeql.backends.tun.worker import rtnl
from ipeql.backends.tun.worker.rtnl import Event, LostEvents, RouteChanged

SO_RCVBUFFORCE = 33
SO_ATTACH_FILTER = 26
GROUPS = 0x1 | 0x4 | 0x40 | 0x400
"""RTMGRP_LINK, RTMGRP_NEIGH, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ROUTE."""

EVENT_BUFFER = 1 << 20
BATCH = 64
"""Messages read before packets are handled again."""

_INDEX_AT = rtnl.HEADER.size + 4
"""Where ifinfomsg and ndmsg both have their ifindex."""
_LOAD, _LOAD_HALF, _LOAD_NUMBER, _LOAD_AT = 0x20, 0x28, 0x00, 0x40
_SET_X, _A_TO_X, _EQUAL, _RETURN = 0x01, 0x07, 0x15, 0x06
_FIND_ATTRIBUTE = 0xFFFFF000 + 12
"""SKF_AD_OFF + SKF_AD_NLATTR of include/uapi/linux/filter.h."""
_ALL = 0xFFFFFFFF


def _word(value: int, size: int = 4) -> int:
    """Return the result of loading the host's ``value``: loads are in network order."""
    return int.from_bytes(value.to_bytes(size, sys.byteorder), "big")


def filter_program(bundle: int, links: Iterable[int]) -> list[tuple[int, int, int, int]]:
    """Return the classic BPF program (code, jt, jf, k) that passes what concerns these devices.

    A route that names no device, because it has several next hops, passes too.
    """
    program = [
        (_LOAD_HALF, 0, 0, 4),
        (_EQUAL, 1, 0, _word(rtnl.RTM_NEWROUTE, 2)),
        (_EQUAL, 0, 9, _word(rtnl.RTM_DELROUTE, 2)),
        (_SET_X, 0, 0, rtnl.RTA_OIF),
        (_LOAD_NUMBER, 0, 0, rtnl.HEADER.size + rtnl.ROUTE.size),
        (_LOAD, 0, 0, _FIND_ATTRIBUTE),
        (_EQUAL, 3, 0, 0),
        (_A_TO_X, 0, 0, 0),
        (_LOAD_AT, 0, 0, rtnl.ATTRIBUTE.size),
        (_EQUAL, 0, 1, _word(bundle)),
        (_RETURN, 0, 0, _ALL),
        (_RETURN, 0, 0, 0),
        (_LOAD, 0, 0, _INDEX_AT),
    ]
    for ifindex in links:
        program += [(_EQUAL, 0, 1, _word(ifindex)), (_RETURN, 0, 0, _ALL)]
    return [*program, (_RETURN, 0, 0, 0)]


class Events:
    """Changes of the slaves' links and neighbours and of the bundle's routes.

    ``fileno`` is readable when there are some.
    """

    def __init__(self, bundle_ifindex: int) -> None:
        self._bundle_ifindex = bundle_ifindex
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, kind, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, EVENT_BUFFER)
        self.watch(())
        self._socket.bind((0, GROUPS))

    def watch(self, slaves: Iterable[int]) -> None:
        """Receive the events of these slaves from now on, and of no other link."""
        program = filter_program(self._bundle_ifindex, {self._bundle_ifindex, *slaves})
        code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *row) for row in program))
        attached = struct.pack("@HP", len(program), ctypes.addressof(code))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, attached)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def read(self) -> Iterator[Event]:
        """Yield what happened since the last call, or a part of it.

        Raises OSError where it cannot be read; ENODEV: the bundle's device is gone.
        """
        routes = False
        for _ in range(BATCH):
            try:
                data = self._socket.recv(rtnl.MESSAGE_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                yield LostEvents()
                continue
            for kind, _, body in rtnl.messages(data):
                if kind in (rtnl.RTM_NEWROUTE, rtnl.RTM_DELROUTE):
                    routes = routes or rtnl.leads_over(body, self._bundle_ifindex)
                elif kind in (rtnl.RTM_NEWLINK, rtnl.RTM_DELLINK):
                    if body[0] == socket.AF_UNSPEC:  # others tell of bridge ports and of IPv6
                        found = rtnl.link(kind, body)
                        if (kind, found.ifindex) == (rtnl.RTM_DELLINK, self._bundle_ifindex):
                            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
                        yield found
                elif neighbour := rtnl.neighbour(kind, body):
                    yield neighbour
        if routes:
            yield RouteChanged()
