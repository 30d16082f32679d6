"""UDP sockets that hold the ports of the probes and receive nothing.

The kernel gets every probe, too, after the tap has seen it. Where nobody had the port, it would
send an ICMP error to the far end.
"""

import contextlib
import errno
import socket
from collections.abc import Sequence

from ipeql import packet_socket
from ipeql.state import Address

_IP_FREEBIND, _IPV6_FREEBIND = 15, 78


class Sinks:
    """The ports of one bundle. ``port``: the one that its own probes come from.

    ``taken``: those that another program has, and so answers at. A port that the kernel refuses
    for another reason is left alone: only the errors are not kept back then.
    """

    def __init__(self, addresses: Sequence[Address], ports: Sequence[int]) -> None:
        self.taken: list[tuple[Address, int]] = []
        self.port = 0
        self._stack = contextlib.ExitStack()
        for address in addresses:
            self._hold(address, self.port)
            for port in ports:
                self._hold(address, port)

    def retry(self) -> None:
        """Take the ports that another program had, if it has them no more."""
        wanted, self.taken = self.taken, []
        for address, port in wanted:
            self._hold(address, port)

    def _hold(self, address: Address, port: int) -> None:
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        sink = socket.socket(family, socket.SOCK_DGRAM)
        packet_socket.attach(sink, packet_socket.NOTHING)
        if address.version == 4:
            sink.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        else:
            sink.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        try:
            sink.bind((str(address), port))
        except OSError as error:
            sink.close()
            if error.errno == errno.EADDRINUSE and port != self.port:
                self.taken.append((address, port))
            return
        self._stack.enter_context(sink)
        self.port = self.port or sink.getsockname()[1]

    def close(self) -> None:
        """Give the ports back."""
        self._stack.close()
