"""Loading programs without holding up the event loop: the kernel verifies them for seconds."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from ipeql.backends.ebpf import pins


async def load_beside(bundle: str, load: Callable[[Path], None], part: str = "") -> Path:
    """Have ``load`` pin programs beside those in force; return the directory they are in.

    OSError: nothing is left of them. A thread cannot be cancelled. Where the caller is, the thread
    is waited for, and what it has pinned is removed.
    """
    place = pins.beside(bundle, part)
    loading = asyncio.get_running_loop().run_in_executor(None, load, place)
    try:
        await asyncio.shield(loading)
    except BaseException:
        await asyncio.wait([loading])
        loading.exception()  # seen: asyncio does not log it
        pins.discard(place)
        raise
    return place
