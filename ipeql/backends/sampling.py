"""Take a sample of what every backend has sent each second, for the rates."""

import asyncio
import logging
from collections.abc import Collection

from ipeql.backends.base import Backend

SECOND_S = 1.0

_log = logging.getLogger(__name__)


async def keep_sampling(backends: Collection[Backend]) -> None:
    """Have a sample taken each second, until cancelled.

    A backend that cannot be sampled has no rates; that is told once.
    """
    told: set[str] = set()
    while True:
        for backend in backends:
            try:
                await backend.sample()
            except Exception:
                if backend.name not in told:
                    _log.exception("%s: rates cannot be measured", backend.name)
                told.add(backend.name)
        await asyncio.sleep(SECOND_S)


async def sample_once(backends: Collection[Backend]) -> None:
    """Measure the rates of the second that begins now, where any are to be measured."""
    if any([await backend.sample() for backend in backends]):
        await asyncio.sleep(SECOND_S)
        for backend in backends:
            await backend.sample()
