"""The map in which the programs keep flows to their slaves: there while the stripe unit has flows.

It takes 512 KiB, so no other bundle has one. ``outer`` is the descriptor of the map ``flows``,
which has it. Source: ``rule.h``.
"""

import contextlib
import os
from ctypes import c_uint32, c_uint64, sizeof

from ipeql.backends.ebpf import libbpf
from ipeql.methods import BUCKETS

_PLACE = c_uint32(0)


def are_kept(outer: int) -> bool:
    """Say whether there is one."""
    with contextlib.suppress(FileNotFoundError):
        libbpf.lookup(outer, _PLACE, c_uint32())
        return True
    return False


def keep(outer: int) -> None:
    """Make one, in which no flow is known; OSError."""
    buckets = libbpf.make_array("buckets", sizeof(c_uint32), sizeof(c_uint64), BUCKETS)
    try:
        libbpf.update(outer, _PLACE, c_uint32(buckets))
    finally:
        os.close(buckets)


def forget(outer: int) -> None:
    """Remove it, if there is one; OSError."""
    with contextlib.suppress(FileNotFoundError):
        libbpf.delete(outer, _PLACE)
