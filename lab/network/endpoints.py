"""Senders and receivers of test traffic, each a process: ``python -m lab.network.endpoints``.

The receivers print the port they listen on and then what they got, as JSON lines on stdout;
:mod:`lab.network.traffic` starts them and knows their arguments. Addresses are IPv4 or IPv6
literals.
"""

import array
import contextlib
import json
import select
import socket
import struct
import sys
from ipaddress import ip_address
from pathlib import Path
from time import monotonic_ns

SECOND = 10**9
SAMPLE = SECOND // 50
PATIENCE = 10 * SECOND
CHUNK = 256 << 10
STAMP = struct.Struct("!qq")  # sequence number from 0, CLOCK_MONOTONIC in ns when sent
SO_RCVBUFFORCE = 33


def _socket(kind: socket.SocketKind, address: str, protocol: int = 0) -> socket.socket:
    family = socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6
    sock = socket.socket(family, kind, protocol)
    sock.settimeout(PATIENCE / SECOND)
    return sock


def tcp_send(source: str, destination: str, port: int, congestion: str, protocol: int = 0) -> None:
    """Send until the receiver has enough; an empty ``source`` leaves the choice to the kernel.

    ``protocol``: IPPROTO_MPTCP, 262, for a flow of several paths.
    """
    with _socket(socket.SOCK_STREAM, destination, protocol) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, congestion.encode())
        if source:
            sock.bind((source, 0))
        sock.connect((destination, port))
        sock.settimeout(None)
        data = bytes(CHUNK)
        with contextlib.suppress(ConnectionError):
            while True:
                sock.send(data)


def tcp_receive(address: str, nanoseconds: int, protocol: int = 0) -> None:
    """Read one connection for a time; print ``[ns, bytes]`` since its start, about every 20 ms.

    A pause between two reads that is longer is told exactly: what there was, when it came to that,
    and the first read after it.
    """
    with _socket(socket.SOCK_STREAM, address, protocol) as listener:
        listener.bind(("" if protocol else address, 0))  # further paths end at other addresses
        listener.listen(1)
        print(json.dumps(listener.getsockname()[1]), flush=True)
        _read(listener.accept()[0], nanoseconds)  # MPTCP's further paths come by the listener too


def _read(connection: socket.socket, nanoseconds: int) -> None:
    timeout = struct.pack("ll", 0, SAMPLE // 1000)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
    connection.setblocking(True)
    buffer = memoryview(bytearray(CHUNK))
    start = monotonic_ns()
    total = now = sampled = 0
    last = (0, 0)
    _tell(last)
    told = last
    while now < nanoseconds:
        with contextlib.suppress(BlockingIOError):
            received = connection.recv_into(buffer)
            if not received:
                break
            total += received
        now = monotonic_ns() - start
        paused = now - last[0] >= SAMPLE
        if paused and told != last:
            _tell(last)
            told = last
        if total > last[1]:
            last = (now, total)
        if paused or now - sampled >= SAMPLE:
            _tell((now, total))
            told = (now, total)
            sampled = now
    _tell((now, total))


def _tell(sample: tuple[int, int]) -> None:
    print(json.dumps(sample), flush=True)


def udp_send(source: str, destination: str, port: int, rate: int, size: int) -> None:
    """Send ``rate`` datagrams of ``size`` payload bytes a second until stdin ends.

    Prints when it begins (ns), and at the end how many were sent and when it stopped. One that the
    kernel refuses counts as sent, and so as lost.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/timerslack_ns").write_text("1")
    padding = bytes(size - STAMP.size)
    with _socket(socket.SOCK_DGRAM, destination) as sock:
        sock.setblocking(False)
        if source:
            sock.bind((source, 0))
        start = monotonic_ns()
        print(json.dumps(start), flush=True)
        sent = 0
        ended = False
        while not ended:
            with contextlib.suppress(OSError):
                sock.sendto(STAMP.pack(sent, monotonic_ns()) + padding, (destination, port))
            sent += 1
            wait = max(0, start + sent * SECOND // rate - monotonic_ns())
            ended = bool(select.select([sys.stdin], [], [], wait / SECOND)[0])
    print(json.dumps([sent, monotonic_ns()]))


def udp_receive(address: str) -> None:
    """Take datagrams until told on stdin how many were sent; print numbers, send and receive times.

    Then waits for those still missing, until none has come for half a second.
    """
    numbers, sent_at, received_at = (array.array("q") for _ in range(3))
    with _socket(socket.SOCK_DGRAM, address) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        sock.bind((address, 0))
        print(json.dumps(sock.getsockname()[1]), flush=True)
        missing: set[int] | None = None
        while missing is None or missing:
            inputs, patience = ([sock, sys.stdin], None) if missing is None else ([sock], 0.5)
            ready = select.select(inputs, [], [], patience)[0]
            if not ready:
                break
            if sock in ready:
                number, sent = STAMP.unpack_from(sock.recv(65536))
                numbers.append(number)
                sent_at.append(sent)
                received_at.append(monotonic_ns())
                if missing:
                    missing.discard(number)
            if sys.stdin in ready:
                missing = set(range(int(sys.stdin.readline() or 0))) - set(numbers)
    print(json.dumps([list(numbers), list(sent_at), list(received_at)]))


if __name__ == "__main__":
    name, *arguments = json.loads(sys.argv[1])
    run = {f.__name__: f for f in (tcp_send, tcp_receive, udp_send, udp_receive)}[name]
    try:
        run(*arguments)
    except OSError as error:
        sys.exit(f"{name} {arguments}: {error}")
