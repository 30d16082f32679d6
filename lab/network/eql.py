"""EQL, the ancestor: ``eql.ko`` with slaves, as ``eql_enslave`` set it up."""

import ctypes
import fcntl
import socket
import struct
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from ipaddress import ip_interface
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.network.host import Host

DEVICE = "eql"
ENSLAVE = 0x89F0
"""EQL_ENSLAVE; source: include/uapi/linux/if_eql.h."""


@contextmanager
def eql(host: "Host", slaves: Mapping[str, int], mtu: int) -> Iterator[None]:
    """Have ``eql`` up in ``host`` as 10.9.0.1/24, over slaves of the given bit/s; OSError if not.

    EQL knows only the machine's own network namespace. Setting it down frees its slaves.
    """
    subprocess.run(["modprobe", DEVICE], check=True)
    index = host.index(DEVICE)
    host.netlink(lambda ipr: ipr.link("set", index=index, mtu=mtu))
    host.add_address(DEVICE, ip_interface("10.9.0.1/24"))
    host.set_up(DEVICE)
    for slave, rate in slaves.items():
        host.call(partial(enslave, slave, rate))
    try:
        yield
    finally:
        host.set_up(DEVICE, False)
        host.netlink(lambda ipr: ipr.flush_addr(index=index))


def enslave(slave: str, rate: int) -> None:
    """Have EQL enslave a device of ``rate`` bit/s, both in this network namespace; OSError if not.

    The kernel wants an ifreq with a pointer to the request: the slave's name and its rate.
    """
    request = ctypes.create_string_buffer(struct.pack("@16sl", slave.encode(), rate))
    ifreq = struct.pack("@16sP16x", DEVICE.encode(), ctypes.addressof(request))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, ENSLAVE, ifreq)
