"""What a bundle adds to the cost of sending one packet of 64 bytes, by method and slaves.

``python bench/packets.py [ROUNDS]`` sends UDP by sendmmsg(2), 64 datagrams a call, over a plain
link and over a bundle of the bpf dataplane in turn, and prints the medians, ns a packet, as a
Markdown table. What a peer on the same machine spends on receiving is included: it is received up
to a socket that nobody reads. Needs root.
"""

import asyncio
import ctypes
import socket
import statistics
import sys
import time

from ipeql.backends.bpf import layout
from ipeql.backends.bpf.backend import BpfBackend
from ipeql.lab import netns
from ipeql.lab.hosts import Lab
from ipeql.state import BundleTable, SlaveRow

BATCH = 64
BATCHES = 1000
PAYLOAD = ctypes.create_string_buffer(64)
SLAVES = (2, 8, 32)


class Vector(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class Message(ctypes.Structure):
    """struct mmsghdr, of a connected socket."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("namelen", ctypes.c_uint32),
        ("vectors", ctypes.POINTER(Vector)),
        ("count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("sent", ctypes.c_uint),
    )


def cost(address: str) -> float:
    """Return the ns a datagram to ``address`` takes."""
    vector = Vector(ctypes.addressof(PAYLOAD), len(PAYLOAD) - 1)
    messages = (Message * BATCH)()
    for message in messages:
        message.vectors, message.count = ctypes.pointer(vector), 1
    send = ctypes.CDLL(None).sendmmsg
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((address, 9))
        for _ in range(BATCHES // 10):
            send(sock.fileno(), messages, BATCH, 0)
        started, sent = time.perf_counter_ns(), 0
        for _ in range(BATCHES):
            sent += max(0, send(sock.fileno(), messages, BATCH, 0))
        return (time.perf_counter_ns() - started) / sent


def main(rounds: int = 7) -> None:
    """Measure and print."""
    print("| method | slaves | plain | bundle | added | ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    with Lab([None] * max(SLAVES)) as lab:
        lab.plain_receiver()
        plain_address = str(lab.address(lab.b, "eth1").ip)
        with netns.inside(lab.b.netns, _receiver):
            netns.inside(lab.a.netns, lambda: asyncio.run(_measure(lab, plain_address, rounds)))


def _receiver() -> socket.socket:
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    found.bind(("", 9))
    return found


async def _measure(lab: Lab, plain_address: str, rounds: int) -> None:
    backend = BpfBackend()
    await backend.create("ipeql0")
    try:
        await asyncio.to_thread(lab.a.run, "ip", "link", "set", "ipeql0", "up")
        await asyncio.to_thread(lab.a.run, "ip", "address", "add", "10.9.0.1/24", "dev", "ipeql0")
        for method in layout.METHODS:
            for count in SLAVES:
                rows = tuple(
                    SlaveRow(socket.if_nametoindex(name), name, bandwidth=10**9, lag=10**6)
                    for name in lab.names[:count]
                )
                await backend.configure("ipeql0", BundleTable(method, slaves=rows))
                plain, bundle = [], []
                for _ in range(rounds):
                    plain.append(cost(plain_address))
                    bundle.append(cost("10.9.0.2"))
                before, after = statistics.median(plain), statistics.median(bundle)
                print(
                    f"| {method} | {count} | {before:.0f} | {after:.0f} | {after - before:.0f} "
                    f"| {after / before:.3f} |",
                    flush=True,
                )
    finally:
        await backend.destroy("ipeql0")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
