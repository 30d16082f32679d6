"""Passes a packet's mark and priority through the TUN device, which does not show them.

A program at the device's egress gives a marked packet a VLAN tag, the number of a row in a table
that the worker reads; the tag is not in the packet's bytes, so a capture on the bundle does not
show it. The device writes it out at the 12th byte (drivers/net/tun.c, tun_put_user()). Needs eBPF
and Linux 6.6; elsewhere packets leave unmarked.

Source: include/uapi/linux/bpf.h; Documentation/bpf/standardization/instruction-set.rst.
"""

import ctypes
import errno
import mmap
import os
import platform
import struct
import sys

TAG = b"\x88\xa8"
"""The tag's protocol (802.1ad), which no VLAN on a device without link header has."""

TAG_AT, TAG_BYTES = 12, 4
ROWS = 4096
PROBES = 8
"""Rows that are tried for a pair of mark and priority; if none is free, the packet is unmarked."""

_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "loongarch64": 280} | {
    "armv7l": 386,
    "ppc64le": 361,
    "s390x": 351,
}
_MAP_CREATE, _PROG_LOAD, _LINK_CREATE = 0, 5, 28
_ARRAY, _MMAPABLE, _SCHED_CLS, _TCX_EGRESS = 2, 0x400, 3, 47
_MARK, _VLAN_PRESENT, _PRIORITY = 8, 20, 32
"""Offsets in struct __sk_buff."""

_LOOKUP, _VLAN_PUSH = 1, 18
_LOAD_WIDE, _LOAD_32, _LOAD_64, _STORE_32, _ATOMIC_64 = 0x18, 0x61, 0x79, 0x63, 0xDB
_MOVE, _SET, _OR, _MULTIPLY, _ADD_VALUE, _AND_VALUE = 0xBF, 0xB7, 0x4F, 0x2F, 0x07, 0x57
_SHIFT_LEFT, _SHIFT_RIGHT = 0x67, 0x77
_JUMP, _IF, _IF_VALUE, _UNLESS_VALUE, _CALL, _EXIT = 0x05, 0x1D, 0x15, 0x55, 0x85, 0x95
_MAP_DESCRIPTOR, _COMPARE_AND_EXCHANGE = 1, 0xF1
_GOLDEN = 0x9E3779B97F4A7C15
_ROW = struct.Struct("=Q")


class _Assembly:
    """Instructions, with jumps to labels that are set later."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, int, int, int | str, int]] = []
        self._labels: dict[str, int] = {}

    def add(
        self, code: int, to: int = 0, source: int = 0, offset: int | str = 0, value: int = 0
    ) -> None:
        """Append one instruction; an ``offset`` in words is a label."""
        self._rows.append((code, to, source, offset, value))

    def wide(self, to: int, value: int, source: int = 0) -> None:
        """Append the load of a 64-bit value, which takes two instructions."""
        self.add(_LOAD_WIDE, to, source, value=value & 0xFFFFFFFF)
        self.add(0, value=value >> 32)

    def label(self, name: str) -> None:
        """Let jumps to ``name`` end here."""
        self._labels[name] = len(self._rows)

    def code(self) -> bytes:
        """Return the program."""
        done = bytearray()
        for index, (code, to, source, offset, value) in enumerate(self._rows):
            jump = self._labels[offset] - index - 1 if isinstance(offset, str) else offset
            registers = to | source << 4 if sys.byteorder == "little" else to << 4 | source
            done += struct.pack("=BBhI", code, registers, jump, value & 0xFFFFFFFF)
        return bytes(done)


def program(table: int) -> bytes:
    """Return the program; ``table`` is the descriptor of the array of (priority << 32 | mark)."""
    code = _Assembly()
    code.add(_MOVE, 6, 1)
    code.add(_LOAD_32, 9, 6, _PRIORITY)
    code.add(_SHIFT_LEFT, 9, value=32)
    code.add(_LOAD_32, 1, 6, _MARK)
    code.add(_OR, 9, 1)
    code.add(_IF_VALUE, 9, offset="done")
    code.add(_LOAD_32, 1, 6, _VLAN_PRESENT)
    code.add(_UNLESS_VALUE, 1, offset="done")
    code.add(_MOVE, 8, 9)
    code.wide(1, _GOLDEN)
    code.add(_MULTIPLY, 8, 1)
    code.add(_SHIFT_RIGHT, 8, value=64 - ROWS.bit_length() + 1)
    for look in range(PROBES):
        code.add(_STORE_32, 10, 8, -4)
        code.wide(1, table, _MAP_DESCRIPTOR)
        code.add(_MOVE, 2, 10)
        code.add(_ADD_VALUE, 2, value=-4)
        code.add(_CALL, value=_LOOKUP)
        code.add(_IF_VALUE, 0, offset="done")
        code.add(_LOAD_64, 1, 0)
        code.add(_IF, 1, 9, "found")
        code.add(_UNLESS_VALUE, 1, offset=f"next {look}")
        code.add(_MOVE, 2, 0)
        code.add(_SET, 0)
        code.add(_ATOMIC_64, 2, 9, value=_COMPARE_AND_EXCHANGE)
        code.add(_IF_VALUE, 0, offset="found")
        code.add(_IF, 0, 9, "found")
        code.label(f"next {look}")
        code.add(_ADD_VALUE, 8, value=1)
        code.add(_AND_VALUE, 8, value=ROWS - 1)
    code.add(_JUMP, offset="done")
    code.label("found")
    code.add(_MOVE, 1, 6)
    code.add(_SET, 2, value=int.from_bytes(TAG, sys.byteorder))
    code.add(_MOVE, 3, 8)
    code.add(_CALL, value=_VLAN_PUSH)
    code.label("done")
    code.add(_SET, 0, value=-1)
    code.add(_EXIT)
    return code.code()


class Marks:
    """The program on the egress of a device and its table, for as long as this object lives.

    Raises OSError where the kernel or our rights do not allow it.
    """

    def __init__(self, ifindex: int) -> None:
        sizes = struct.pack("=IIIII", _ARRAY, 4, _ROW.size, ROWS, _MMAPABLE)
        table = _bpf(_MAP_CREATE, sizes)
        try:
            self._rows = mmap.mmap(table, ROWS * _ROW.size, mmap.MAP_SHARED, mmap.PROT_READ)
            code = ctypes.create_string_buffer(program(table))
            license_ = ctypes.create_string_buffer(b"GPL")
            count = (len(code) - 1) // 8
            pointers = ctypes.addressof(code), ctypes.addressof(license_)
            loaded = _bpf(_PROG_LOAD, struct.pack("=IIQQ", _SCHED_CLS, count, *pointers))
            try:
                self._link = _bpf(
                    _LINK_CREATE, struct.pack("=IIII", loaded, ifindex, _TCX_EGRESS, 0)
                )
            finally:
                os.close(loaded)
        finally:
            os.close(table)

    def of(self, row: int) -> tuple[int, int]:
        """Return the mark and the priority of a tag."""
        (both,) = _ROW.unpack_from(self._rows, (row & ROWS - 1) * _ROW.size)
        return both & 0xFFFFFFFF, both >> 32


def _bpf(command: int, attributes: bytes) -> int:
    number = _BPF.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    libc = ctypes.CDLL(None, use_errno=True)
    given = ctypes.create_string_buffer(attributes, 128)
    answer = int(libc.syscall(ctypes.c_long(number), command, given, ctypes.c_uint(len(given))))
    if answer < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return answer
