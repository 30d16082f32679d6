"""The contract between the reconciler and a dataplane.

A backend changes only its own device and slave table; addresses, routes, MTU and the slaves'
settings are set by the reconciler. Every call is idempotent. Errors leave as ``IpeqlError``.
"""

from collections.abc import Callable
from typing import Protocol

from ipeql.state import BundleStatistics, BundleTable, Capabilities, ObservedBundle, Receiver
from ipeql.state.path import Adjustments

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

    async def adjust(self, bundle: str, adjustments: Adjustments) -> None:
        """Replace all earlier adjustments at once: rates, lags and who is usable, while running.

        Nothing is reset (docs/methods.md, Adjusting), and the table is observed as it was
        configured. An adjustment outlives ``configure`` for the slaves that stay; one of an
        ifindex that is no slave is ignored. What is held for a slave that is not usable any more
        is placed again, oldest first. Where no slave is usable any more, so be it.

        Another process may call this while the daemon configures. It may be called tens of times
        a second. ApplyError: there is no such bundle, a rate below 1000 bit/s, or a lag below 0;
        nothing has changed then.
        """
        ...

    async def receive(self, bundle: str, receiver: Receiver | None) -> None:
        """Tell the receiving program what belongs to the bundle; None: remove it.

        Asked only of backends whose ``Capabilities.receiver`` says that they have such a program.
        """
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
