"""Frames in a flood: ``python -m tests.netns.paths.flood LINK RATE COUNT``, frames on stdin.

Each line is a frame in hexadecimal digits. They are sent in turn, COUNT in all, RATE a second. Then
the seconds that it took are printed.
"""

import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from subprocess import PIPE

from lab import module
from lab.network.host import Host

TICK_S = 0.001


def send(link: str, rate: int, count: int, frames: Sequence[bytes]) -> float:
    """Send the flood; return how long it took, in seconds."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind((link, 0))
        begin = time.monotonic()
        sent = 0
        while sent < count:
            due = min(count, int((time.monotonic() - begin) * rate))
            for number in range(sent, due):
                sock.send(frames[number % len(frames)])
            sent = max(sent, due)
            time.sleep(TICK_S)
        return time.monotonic() - begin


@contextmanager
def flood(
    host: Host, link: str, frames: Sequence[bytes], *, rate: int, seconds: float
) -> Iterator[list[float]]:
    """Have a flood during the context, which lasts until it ends; the rate is in the list then."""
    count = int(rate * seconds)
    command = module("tests.netns.paths.flood", link, str(rate), str(count))
    process = host.popen(*command, stdin=PIPE, stdout=PIPE)
    assert process.stdin
    process.stdin.write("".join(f"{frame.hex()}\n" for frame in frames))
    process.stdin.close()
    process.stdin = None
    rates: list[float] = []
    try:
        yield rates
    finally:
        took = float(process.communicate(timeout=20 * seconds + 60)[0])
        rates.append(count / took)


if __name__ == "__main__":
    lines = [bytes.fromhex(line) for line in sys.stdin]
    print(send(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), lines))
