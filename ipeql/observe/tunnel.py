"""The link by which a tunnel's own packets leave: what binds them, and the route to its far end.

WireGuard's are in ``wireguard``. The links of OpenVPN do not show their far ends, so they are not
checked.
"""

import ipaddress
import sys

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ipeql.observe.dump import attributes
from ipeql.state import Address

_INFO_DATA = 2
_REMOTE = {
    "vxlan": (2, 16),  # IFLA_VXLAN_GROUP, _GROUP6 of include/uapi/linux/if_link.h
    "geneve": (2, 7),  # IFLA_GENEVE_REMOTE, _REMOTE6
    # IFLA_GRE_REMOTE, IFLA_IPTUN_REMOTE and IFLA_VTI_REMOTE of include/uapi/linux/if_tunnel.h
    **dict.fromkeys(("gre", "gretap", "ip6gre", "ip6gretap", "erspan"), (7,)),
    **dict.fromkeys(("ipip", "sit", "ip6tnl"), (3,)),
    **dict.fromkeys(("vti", "vti6"), (5,)),
}
_LINK = {
    "vxlan": 3,  # IFLA_VXLAN_LINK
    # IFLA_GRE_LINK, IFLA_IPTUN_LINK and IFLA_VTI_LINK
    **dict.fromkeys(("gre", "gretap", "ip6gre", "ip6gretap", "erspan", "ipip", "sit"), 1),
    **dict.fromkeys(("ip6tnl", "vti", "vti6"), 1),
}
_VXLAN_LEARNING = 7  # IFLA_VXLAN_LEARNING
_MARK = {
    # IFLA_GRE_FWMARK, IFLA_IPTUN_FWMARK and IFLA_VTI_FWMARK
    **dict.fromkeys(("gre", "gretap", "ip6gre", "ip6gretap", "erspan", "ipip", "sit"), 20),
    "ip6tnl": 20,
    **dict.fromkeys(("vti", "vti6"), 6),
}


def bound_to(kind: str, link_info: bytes) -> int | None:
    """Return the ifindex of the link that a tunnel's own packets have to leave by; 0: of none.

    None: links of this kind have no such setting. VXLAN sends to addresses that it has learned
    without regard to its link (vxlan_snoop() of drivers/net/vxlan).
    """
    if kind == "vxlan" and _number(link_info, _VXLAN_LEARNING):
        return 0
    return _number(link_info, _LINK[kind]) if kind in _LINK else None


def mark(kind: str, link_info: bytes) -> int | None:
    """Return the firewall mark of a tunnel's own packets; None: it has none."""
    return (_number(link_info, _MARK[kind]) or None) if kind in _MARK else None


def _number(link_info: bytes, kind: int) -> int:
    data = attributes(attributes(link_info).get(_INFO_DATA, b""))
    return int.from_bytes(data.get(kind, b""), sys.byteorder)


def far_end(kind: str, link_info: bytes) -> Address | None:
    """Return the one address that a tunnel of ``kind`` sends to, from its IFLA_LINKINFO."""
    data = attributes(attributes(link_info).get(_INFO_DATA, b""))
    for number in _REMOTE.get(kind, ()):
        packed = data.get(number, b"")
        if len(packed) in (4, 16) and any(packed):
            return ipaddress.ip_address(packed)
    return None


async def leaves_by(kernel: AsyncIPRoute, far_end: Address, mark: int | None = None) -> int:
    """Return the ifindex of the link over which the kernel reaches ``far_end``; 0 where it cannot.

    ``mark``: the firewall mark of the tunnel's own packets.
    """
    marked = {"mark": mark} if mark else {}
    try:
        (route,) = await kernel.route("get", dst=str(far_end), **marked)
    except NetlinkError:
        return 0
    return int(route.get("oif") or 0)
