"""IPEQL on the D-Bus system bus: org.ipeql1, described by the XML files in this directory."""

from typing import TYPE_CHECKING

from ipeql.api.manager import Manager

if TYPE_CHECKING:
    from ipeql.api.dbus.service import Service


def service(manager: Manager) -> "Service | None":
    """Return the service that asks ``manager``; None where dbus-next is not installed."""
    try:
        from ipeql.api.dbus.service import Service  # noqa: PLC0415  (an optional dependency)
    except ImportError:
        return None
    return Service(manager)
