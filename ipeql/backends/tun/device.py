"""The TAP or TUN device, and the virtio-net header before every packet that is read from it.

With ``IFF_VNET_HDR`` and offloads one read returns a whole GSO train of up to 64 KiB, and the slave
computes its checksum. Sources: include/uapi/linux/if_tun.h and virtio_net.h,
Documentation/networking/tuntap.rst.
"""

import fcntl
import os
import struct

TUNSETIFF = 0x400454CA
TUNSETOFFLOAD = 0x400454D0
TUNGETIFF = 0x800454D2
IFF_TUN = 0x0001
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
IFF_VNET_HDR = 0x4000

TUN_F_CSUM = 0x01
TUN_F_TSO4 = 0x02
TUN_F_TSO6 = 0x04
TUN_F_USO4 = 0x20
TUN_F_USO6 = 0x40

VNET_HEADER = struct.Struct("=BBHHHH")
"""virtio_net_hdr: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset (host order)."""

NEEDS_CSUM = 1
GSO_NONE = 0

MAX_FRAME = 65536 + 18
"""A GSO train carries at most 65536 bytes (GSO_LEGACY_MAX_SIZE), a frame a tagged link header."""

TAP_MTU = 65535 - 14
"""The largest MTU that a TAP device takes (tun_net_initialize())."""


def open_device(name: str, kind: int = IFF_TUN) -> int:
    """Create the TUN or TAP device ``name`` in this network namespace and return its descriptor.

    The device lives as long as a descriptor is open. Raises OSError: EBUSY where another process
    has the device of this name open, EINVAL where it is no such device, EPERM, ENOENT without
    /dev/net/tun.
    """
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        flags = kind | IFF_NO_PI | IFF_VNET_HDR
        fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def name_of(descriptor: int) -> str:
    """Return the name that the device has now. Raises OSError where it is gone."""
    answer = fcntl.ioctl(descriptor, TUNGETIFF, bytes(40))
    return os.fsdecode(answer[:16].partition(b"\0")[0])


def has_link_header(descriptor: int) -> bool:
    """Say whether it is a TAP device. Raises OSError where it is gone."""
    (flags,) = struct.unpack_from("=H", fcntl.ioctl(descriptor, TUNGETIFF, bytes(40)), 16)
    return bool(flags & IFF_TAP)


def is_attached(descriptor: int) -> bool:
    """Say whether the device still exists: its deletion leaves descriptors open, but useless."""
    try:
        name_of(descriptor)
    except OSError:
        return False
    return True


def set_stripe_unit(descriptor: int, unit: str) -> None:
    """Let the kernel hand over whole GSO trains (``burst``) or single packets (``packet``).

    The train limit of the device cannot do that: a train of a virtual machine does not say how many
    packets it has (SKB_GSO_DODGY), so the kernel does not compare it. Only a descriptor of the
    device sets it, together with the table: so the worker does. UDP trains need Linux 6.2; an older
    kernel hands over single UDP packets instead.
    """
    if unit == "packet":
        fcntl.ioctl(descriptor, TUNSETOFFLOAD, TUN_F_CSUM)
        return
    trains = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6
    try:
        fcntl.ioctl(descriptor, TUNSETOFFLOAD, trains | TUN_F_USO4 | TUN_F_USO6)
    except OSError:
        fcntl.ioctl(descriptor, TUNSETOFFLOAD, trains)
