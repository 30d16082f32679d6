"""The contract between the reconciler and a dataplane.

A backend changes only its own device and slave table; addresses, routes, MTU and the slaves'
settings are set by the reconciler. Every call is idempotent. Errors leave as ``IpeqlError``.
"""

from collections.abc import Callable
from typing import Protocol

from ipeql.state import BundleStatistics, BundleTable, Capabilities, ObservedBundle

OnChange = Callable[[str, str], None]
"""Called with (bundle, what happened) when a dataplane changes by itself, e.g. its worker died."""


def ignore(bundle: str, what: str) -> None:
    """Do nothing: the ``OnChange`` for a single pass."""


class Backend(Protocol):
    """One dataplane. A bundle is named by its interface name, at most 15 bytes."""

    name: str

    def capabilities(self) -> Capabilities:
        """Return what this backend can do here, or why it is not available."""
        ...

    async def observe(self) -> dict[str, ObservedBundle]:
        """Return the bundles this backend carries, running, with the table each one uses."""
        ...

    async def create(self, bundle: str) -> None:
        """Make and mark the device, or adopt or revive what is left of it; it stays down."""
        ...

    async def configure(self, bundle: str, table: BundleTable) -> None:
        """Replace the slave table in one step: no packet lost, staying slaves keep state."""
        ...

    async def destroy(self, bundle: str) -> None:
        """Remove the device and everything that belongs to it."""
        ...

    async def statistics(self, bundle: str) -> BundleStatistics:
        """Return the counters of a bundle."""
        ...

    async def sample(self) -> bool:
        """Note what every slave has sent, and say whether there was any to note.

        A rate is between the last two samples, which are taken a second apart. A backend whose
        dataplane measures by itself has nothing to note.
        """
        ...

    async def close(self) -> None:
        """Stop controlling the bundles that were not destroyed: they keep working without us."""
        ...
