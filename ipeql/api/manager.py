"""The requests that the daemon answers, the same for the control socket and D-Bus."""

from collections.abc import AsyncGenerator
from typing import Any, Protocol


class Manager(Protocol):
    """The daemon. Results are JSON; errors leave as ``IpeqlError``.

    A method that changes something returns when it is done, with an ``ipeql-plan/1`` document.
    """

    async def describe(self) -> dict[str, Any]:
        """Return the status document, see ``ipeql.documents.status``."""
        ...

    async def plan(self) -> dict[str, Any]:
        """Return what a reload of the files as they are now would do."""
        ...

    async def reload(self) -> dict[str, Any]:
        """Read the files again and apply them."""
        ...

    async def apply(self) -> dict[str, Any]:
        """Run a pass over the configuration in use."""
        ...

    async def show(self, bundle: str) -> dict[str, Any]:
        """Return the configuration in use of one bundle; NotFoundError when there is none."""
        ...

    async def change(self, change: dict[str, Any], saved: bool = False) -> dict[str, Any]:
        """Make a transient change, in the keys and spellings of ``changes`` in a file.

        ``saved``: a file has it now, so read the files; it is no longer transient.
        """
        ...

    async def revert(self, bundle: str = "") -> dict[str, Any]:
        """Remove all transient changes, or those of one bundle."""
        ...

    async def ping(self, bundle: str) -> dict[str, Any]:
        """Send one probe over each probed slave now, and return what became of each.

        ``bundle``, and of each of ``slaves``: ``name``, ``ifindex``, ``to``, ``rung``,
        ``round_trip_ns``, and ``reason`` why there is none. NotFoundError when there is no such
        bundle, ApplyError where none of its slaves is probed.
        """
        ...

    async def paths(self, bundle: str) -> dict[str, Any]:
        """Return what is known now of the path of each probed slave.

        ``bundle``, ``time_ns`` of CLOCK_MONOTONIC, and of each of ``slaves``: ``name``, ``ifindex``
        and ``path`` as the status document has it. Errors as of :meth:`ping`.
        """
        ...

    def subscribe(self) -> AsyncGenerator[dict[str, Any], None]:
        """Return the events that happen from now on, until it is closed."""
        ...
