"""Tells a bundle's dataplane what its paths say, not more often than it should be."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace

from ipeql.errors import IpeqlError, Problem
from ipeql.state import Adjustments

Adjust = Callable[[str, str, Adjustments], Awaitable[None]]
"""Called with backend, bundle and adjustments: ipeql.backends.base.Backend.adjust."""

PAUSE_S = 0.01
"""Between two calls, but for a slave that goes or comes. Rates and lags change every 20 ms at most;
a dataplane that binds late is told of each queue that a probe has met."""

RETRY_S = 1.0
"""Between two attempts of what was refused: the bundle may be in the making."""

PATIENCE = 5
"""A refusal is reported when it has been repeated so often."""


class Adjuster:
    """One bundle's. ``problems``: why the dataplane cannot be told, if that lasts."""

    def __init__(self, bundle: str, adjust: Adjust) -> None:
        self.backend = ""
        self.problems: tuple[Problem, ...] = ()
        self._bundle = bundle
        self._adjust = adjust
        self._wanted: Adjustments = {}
        self._told: Adjustments | None = None
        self._new = asyncio.Event()
        self._urgent = asyncio.Event()

    def want(self, adjustments: Adjustments) -> None:
        """Have these in force from now on, and no others."""
        if adjustments == self._wanted:
            return
        if _usable(adjustments) != _usable(self._wanted):
            self._urgent.set()
        self._wanted = adjustments
        self._new.set()

    def again(self) -> None:
        """Tell the dataplane once more, even if nothing differs: it may be another one now."""
        self._told = None
        self._new.set()
        self._urgent.set()

    async def run(self) -> None:
        """Keep telling, until cancelled."""
        refused = 0
        while True:
            await self._new.wait()
            self._new.clear()
            self._urgent.clear()
            wanted = self._wanted
            if wanted == self._told:
                continue
            try:
                await self._adjust(self.backend, self._bundle, wanted)
            except IpeqlError as error:
                refused += 1
                self.problems = error.problems if refused >= PATIENCE else ()
                self._new.set()
                await asyncio.sleep(RETRY_S)
                continue
            self._told, refused, self.problems = wanted, 0, ()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PAUSE_S):
                    await self._urgent.wait()

    async def release(self, *, keep: bool) -> None:
        """End: let the dataplane use every slave again, with the measured lags if ``keep``."""
        last = self._wanted if keep else {}
        free = {ifindex: replace(each, usable=True) for ifindex, each in last.items()}
        if self._told is None or free == self._told:
            return
        with contextlib.suppress(IpeqlError):
            await self._adjust(self.backend, self._bundle, free)


def _usable(adjustments: Adjustments) -> set[int]:
    return {ifindex for ifindex, each in adjustments.items() if not each.usable}
