"""The devices that hold a bundle's packets: they are there while its method holds any.

The *holder* is a macvlan with the queueing discipline fq, which lets a packet go when its tstamp is
due. Packets leave it by its lower device, the *release*, where the dataplane sends each to its
slave. Nothing else uses the two; both are parts of the bundle.
"""

import errno
import os
import socket
import struct
from functools import cache
from typing import NamedTuple

from pyroute2 import AsyncIPRoute
from pyroute2.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import RTM_NEWLINK, RTM_NEWQDISC

from ipeql.backends import owned, upper

PARTS = (HOLDER, RELEASE) = ("holder", "release")
LOWER_KINDS = ("dummy", "ifb")

IFLA_LINKINFO, IFLA_INFO_KIND = 18, 1  # include/uapi/linux/if_link.h
TCA_KIND, TCA_OPTIONS = 1, 2  # include/uapi/linux/rtnetlink.h
TC_H_ROOT = 0xFFFFFFFF
_HANDLE = 0x1EE10000
_LOOPBACK = 1
_QUANTUM = 3
_FQ = {
    1: 1 << 30,  # TCA_FQ_PLIMIT: packets; the dataplane bounds by time what is held
    2: 1 << 30,  # TCA_FQ_FLOW_PLIMIT
    _QUANTUM: 1 << 20,  # TCA_FQ_QUANTUM: bytes of one slave before the next has its turn
    4: 1 << 20,  # TCA_FQ_INITIAL_QUANTUM
    5: 0,  # TCA_FQ_RATE_ENABLE: tstamp alone says when
    8: 5,  # TCA_FQ_BUCKETS_LOG: a flow is a slave
    10: 0xFFFFFFFF,  # TCA_FQ_ORPHAN_MASK: the flow is the whole hash
    13: 1000,  # TCA_FQ_TIMER_SLACK, ns
    14: 0xFFFFFFFF,  # TCA_FQ_HORIZON, us: queue-limit and max-hold are a minute at most
}
"""The attributes of fq; include/uapi/linux/pkt_sched.h."""


class Holder(NamedTuple):
    """The ifindex of the holder, that of its lower device, and whether that is new."""

    ifindex: int
    lower: int
    new: bool


@cache
def lack() -> str:
    """Return what the kernel lacks to hold packets, or an empty string; tried once per process."""
    kind = _attribute(IFLA_LINKINFO, _attribute(IFLA_INFO_KIND, b"macvlan\0"))
    if _refusal(RTM_NEWLINK, NLM_F_CREATE, bytes(16) + kind) == errno.EOPNOTSUPP:
        return "it holds packets in a macvlan device, and the kernel has none"
    # A quantum of 0 is refused wherever there is fq.
    if _set_fq(_LOOPBACK, {_QUANTUM: 0}) == errno.ENOENT:
        return "it holds packets in the queueing discipline fq, and the kernel has none"
    return ""


def index(bundle: str) -> int:
    """Return the ifindex of a bundle's holder, 0 where there is none or it cannot work."""
    ifindex, flags = owned.part(bundle, HOLDER)
    lower, lower_flags = owned.part(bundle, RELEASE)
    return ifindex if lower and flags & lower_flags & upper.IFF_UP else 0


def is_there(bundle: str) -> bool:
    """Say whether any of the devices is there."""
    return any(owned.part(bundle, name)[0] for name in PARTS)


async def create(bundle: str) -> Holder:
    """Make the two devices, or keep them; NetlinkError where the kernel refuses."""
    async with AsyncIPRoute() as kernel:
        before, _ = owned.part(bundle, RELEASE)
        lower = await owned.make_part(kernel, bundle, RELEASE, LOWER_KINDS, mtu=upper.LOWER_MTU)
        await upper.set_up(kernel, lower)
        mode = {"macvlan_mode": "private"}
        made = await owned.make_part(kernel, bundle, HOLDER, ("macvlan",), link=lower, **mode)
        if refused := _set_fq(made, _FQ):
            raise NetlinkError(refused, f"fq: {os.strerror(refused)}")
        await upper.set_up(kernel, made)
    return Holder(made, lower, lower != before)


async def remove(bundle: str) -> None:
    """Delete the devices, with what is held there; NetlinkError where the kernel refuses."""
    async with AsyncIPRoute() as kernel:
        for name in PARTS:
            if found := owned.part(bundle, name)[0]:
                await owned.delete(kernel, found)


def _set_fq(ifindex: int, options: dict[int, int]) -> int:
    """Make fq a device's queueing discipline, or change it; return the kernel's error number."""
    packed = b"".join(_attribute(kind, struct.pack("=I", value)) for kind, value in options.items())
    body = struct.pack("=B3xiIII", socket.AF_UNSPEC, ifindex, _HANDLE, TC_H_ROOT, 0)
    body += _attribute(TCA_KIND, b"fq\0") + _attribute(TCA_OPTIONS, packed)
    return _refusal(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, body)


def _attribute(kind: int, content: bytes) -> bytes:
    """Return a netlink attribute."""
    return struct.pack("=HH", 4 + len(content), kind) + content + bytes(-len(content) % 4)


def _refusal(kind: int, flags: int, body: bytes) -> int:
    """Send a request to rtnetlink and return the error number of its answer, 0: none."""
    flags |= NLM_F_REQUEST | NLM_F_ACK
    header = struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(10)
        kernel.send(header + body)
        (number,) = struct.unpack_from("=i", kernel.recv(65536), 16)
    return -int(number)
