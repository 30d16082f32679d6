"""The prober: a process of the daemon's that probes paths, so that a pass does not delay a probe.

``python -m ipeql.prober CHANNEL``: the descriptor of a Unix stream socket to the daemon
(ipeql.probe.channel.wire). It ends when the daemon closes the channel or is gone.
"""

import asyncio
import contextlib
import gc
import os
import socket
import sys
from pathlib import Path

from ipeql.api.control import runtime_directory
from ipeql.backends.make import make
from ipeql.backends.tun.worker.rtnl import Requests
from ipeql.probe.channel import wire
from ipeql.probe.loop import Prober
from ipeql.state import Adjustments

NICENESS = -10
"""As a worker that holds packets: what is late here looks like a delay of the path."""


async def run(channel: socket.socket) -> None:
    """Probe as told over ``channel`` until it ends."""
    backends = make(runtime_directory())

    async def adjust(backend: str, bundle: str, adjustments: Adjustments) -> None:
        await backends[backend].adjust(bundle, adjustments)

    reader, writer = await asyncio.open_connection(sock=channel, limit=wire.MAX_LINE)
    await Prober(Requests(), adjust).run(reader, writer)


def _be_punctual() -> None:
    """Ask for timers without slack (proc(5), timerslack_ns), and for the processor first."""
    with contextlib.suppress(OSError):
        Path("/proc/self/timerslack_ns").write_text("1")
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    gc.freeze()


def main() -> None:
    """Run until the daemon ends."""
    _be_punctual()
    asyncio.run(run(socket.socket(fileno=int(sys.argv[1]))))


if __name__ == "__main__":
    main()
