"""IP addresses, interfaces and networks of either version; the values ``auto`` and ``device``."""

from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from typing import Final

AUTO: Final = "auto"
"""IPEQL determines the value."""

DEVICE: Final = "device"
"""The device determines the value."""

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network
