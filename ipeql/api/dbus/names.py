"""Names on the bus: of the service, its interfaces and its objects."""

from string import ascii_letters, digits

BUS_NAME = "org.ipeql1"
ROOT = "/org/ipeql1"

MANAGER = "org.ipeql1.Manager"
BUNDLE = "org.ipeql1.Bundle"
SLAVE = "org.ipeql1.Slave"
OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager"
PROPERTIES = "org.freedesktop.DBus.Properties"
INTROSPECTABLE = "org.freedesktop.DBus.Introspectable"

ERROR = "org.ipeql1.Error"
"""What the names of our errors begin with."""

_LETTERS, _DIGITS = ascii_letters.encode(), digits.encode()


def bundle_path(bundle: str) -> str:
    """Return the object of a bundle."""
    return f"{ROOT}/bundle/{escape(bundle)}"


def slave_path(bundle: str, slave: str) -> str:
    """Return the object of a slave, by the name of its link or the pattern of its entry."""
    return f"{bundle_path(bundle)}/slave/{escape(slave)}"


def escape(name: str) -> str:
    """Return ``name`` as an element of an object path, as sd_bus_path_encode(3) makes it."""
    if not name:
        return "_"
    escaped = (
        chr(byte) if byte in (_LETTERS + _DIGITS if i else _LETTERS) else f"_{byte:02x}"
        for i, byte in enumerate(name.encode("utf-8", "surrogateescape"))
    )
    return "".join(escaped)
