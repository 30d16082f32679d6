"""What the links have sent and received so far, as the kernel counts it.

/proc/net/dev is read without the lock that changes of links hold (rtnl): a reload of many bundles
does not delay it, as it would delay an answer of rtnetlink. It is of the process's own network
namespace, wherever /sys comes from.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_DEVICES = Path("/proc/thread-self/net/dev")
_BLOCK = 1 << 16
_RECEIVED_BYTES, _RECEIVED_PACKETS, _SENT_BYTES, _SENT_PACKETS = 0, 1, 8, 9


class Count(NamedTuple):
    """Packets and bytes of one direction."""

    packets: int = 0
    bytes: int = 0


class Counters(NamedTuple):
    """Both directions of a link."""

    sent: Count = Count()
    received: Count = Count()


class Devices:
    """/proc/net/dev of this network namespace, kept open. Raises OSError where it cannot be."""

    def __init__(self) -> None:
        self._file = _DEVICES.open("rb", buffering=0)

    def read(self, names: dict[bytes, int]) -> dict[int, Counters]:
        """Return the counters of the links called ``names``, by what they stand for (ifindex)."""
        found = {}
        for line in self._lines():
            name, _, text = line.rpartition(b": ")
            ifindex = names.get(name.lstrip())
            if ifindex is not None:
                words = text.split(None, _SENT_PACKETS + 1)
                found[ifindex] = Counters(
                    Count(int(words[_SENT_PACKETS]), int(words[_SENT_BYTES])),
                    Count(int(words[_RECEIVED_PACKETS]), int(words[_RECEIVED_BYTES])),
                )
        return found

    def sent(self, name: bytes) -> Count | None:
        """Return what the link called ``name`` has sent; None: there is no such link."""
        sought = b"%b: " % name
        for line in self._lines():
            if line.lstrip().startswith(sought):
                words = line.rpartition(b": ")[2].split(None, _SENT_PACKETS + 1)
                return Count(int(words[_SENT_PACKETS]), int(words[_SENT_BYTES]))
        return None

    def _lines(self) -> Iterator[bytes]:
        at, rest = 0, b""
        while block := os.pread(self._file.fileno(), _BLOCK, at):
            at += len(block)
            *lines, rest = (rest + block).split(b"\n")
            yield from lines

    def close(self) -> None:
        """Close the file."""
        self._file.close()
