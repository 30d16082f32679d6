"""The kmod backend for the reconciler; all state is in the kernel."""

import contextlib
import errno
import time
from pathlib import Path
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ipeql.backends import owned
from ipeql.backends import table as tables
from ipeql.backends.kmod import layout
from ipeql.backends.kmod.family import (
    METHODS,
    RECEIVERS,
    STRIPE_UNITS,
    Family,
    OtherVersionError,
)
from ipeql.backends.rates import Rates, Sample
from ipeql.errors import ApplyError, Code, Problem
from ipeql.state import BundleStatistics, BundleTable, Capabilities, ObservedBundle, Receiver
from ipeql.state.path import Adjustments

RANK = 30
KIND = "ipeql"
MODULE = Path("/sys/module/ipeql")
UNCLEAR = (LookupError, ValueError, TypeError, AttributeError)

_UNCLEAR = "kmod: the answer of the module cannot be understood"
_RELOAD = "build this version's module (DKMS), then rmmod ipeql and modprobe ipeql"


class KmodBackend:
    """One device of kind ``ipeql`` per bundle; it works without us.

    IPEQL never loads the module: that is the administrator's decision.
    """

    name = "kmod"

    def __init__(self) -> None:
        self._rates = Rates()
        self._refusal = ""

    def capabilities(self) -> Capabilities:
        """Return what the module supports: everything, unless ``observe`` found another version."""
        reason = self._refusal if MODULE.exists() else "the kernel module ipeql is not loaded"
        return Capabilities(
            backend=self.name,
            available=not reason,
            methods=frozenset(METHODS),
            stripe_units=frozenset(STRIPE_UNITS),
            receives=frozenset(RECEIVERS),
            rank=RANK,
            reason=reason,
        )

    async def observe(self) -> dict[str, ObservedBundle]:
        """Return the bundles whose devices carry our mark.

        A module of another version is not asked: its bundles are without a table here, and go on
        until the module is reloaded or another backend takes them.
        """
        if not MODULE.exists():
            return {}
        ours = await _ours()
        try:
            async with Family() as family:
                found = {
                    message.get_attr("IPEQL_A_BUNDLE_IFNAME"): message
                    for message in await family.bundles()
                }
        except OtherVersionError as error:
            self._refusal = f"{error.args[1]}; {_RELOAD}"
            return {bundle: ObservedBundle(self.name) for bundle in ours.values()}
        except NetlinkError as error:
            raise ApplyError(_refused("kmod", error)) from error
        self._refusal = ""
        return {ours[name]: _observed(found[name]) for name in found.keys() & ours.keys()}

    async def create(self, bundle: str) -> None:
        """Make the device, unless it is there."""
        try:
            async with AsyncIPRoute() as kernel:
                await owned.make(kernel, bundle, (KIND,))
        except NetlinkError as error:
            raise ApplyError(_refused(bundle, error)) from error

    async def configure(self, bundle: str, table: BundleTable) -> None:
        """Activate a slave table in one step, while packets are sent."""
        try:
            async with Family() as family:
                await family.set(bundle, layout.attributes(table))
        except NetlinkError as error:
            raise ApplyError(_refused(bundle, error)) from error
        except (ValueError, KeyError) as error:
            problem = Problem(Code.APPLY_FAILED, f"{bundle}: kmod: does not know {error}")
            raise ApplyError(problem) from error

    async def adjust(self, bundle: str, adjustments: Adjustments) -> None:
        """Adjust the table in force, in one step."""
        try:
            found = layout.adjusted(tables.kept(adjustments, adjustments))
            async with Family() as family:
                await family.adjust(bundle, found)
        except NetlinkError as error:
            raise ApplyError(_refused(bundle, error)) from error
        except ValueError as error:
            problem = Problem(Code.APPLY_FAILED, f"{bundle}: kmod: {error}")
            raise ApplyError(problem) from error

    async def receive(self, bundle: str, receiver: Receiver | None) -> None:
        """Do nothing: the module looks at the kernel's own routes and addresses."""

    async def destroy(self, bundle: str) -> None:
        """Delete the device, which frees its slaves."""
        try:
            await owned.remove(bundle)
        except NetlinkError as error:
            raise ApplyError(_refused(bundle, error)) from error

    async def statistics(self, bundle: str) -> BundleStatistics:
        """Return the counters."""
        try:
            async with Family() as family:
                message = await family.bundle(bundle)
        except NetlinkError as error:
            raise ApplyError(_refused(bundle, error)) from error
        try:
            return layout.statistics(message, self._rates.of(bundle))
        except UNCLEAR as error:
            unclear = Problem(Code.INTERNAL, f"{bundle}: {_UNCLEAR}", _RELOAD, bundle=bundle)
            raise ApplyError(unclear) from error

    async def sample(self) -> bool:
        """Note what every slave has sent."""
        samples = {}
        if MODULE.exists():
            with contextlib.suppress(NetlinkError):
                async with Family() as family:
                    found = await family.bundles()
                now = time.monotonic_ns()
                samples = {
                    message.get_attr("IPEQL_A_BUNDLE_IFNAME"): Sample(
                        now, layout.sent_bytes(message)
                    )
                    for message in found
                }
        self._rates.update(samples)
        return bool(samples)

    async def close(self) -> None:
        """Do nothing: the bundles do not need us."""


def _observed(message: Any) -> ObservedBundle:
    try:
        return ObservedBundle(KmodBackend.name, layout.table(message))
    except UNCLEAR:
        return ObservedBundle(KmodBackend.name, fault=f"{_UNCLEAR}; {_RELOAD}")


async def _ours() -> dict[str, str]:
    """Return the bundles of the devices of our kind that carry our mark, by the devices' names."""
    async with AsyncIPRoute() as kernel:
        return {
            str(link.get("ifname")): bundle
            async for link in await kernel.link("dump", kind=KIND)
            if (bundle := owned.owner(link))
        }


def _refused(bundle: str, error: NetlinkError) -> Problem:
    helps = {
        errno.EPERM: "run as root, or give the service CAP_NET_ADMIN",
        errno.EBUSY: "choose another name for the bundle, or take the slave from its other master",
        errno.ENOTSUP: "load the module: modprobe ipeql",
        errno.EPROTONOSUPPORT: _RELOAD,
        errno.ENODEV: "a link went away meanwhile; the next pass sees it",
    }
    return Problem(Code.APPLY_FAILED, f"{bundle}: kmod: {error}", helps.get(error.code, ""))
