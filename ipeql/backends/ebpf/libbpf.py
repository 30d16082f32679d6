"""The part of libbpf that the dataplane needs, with types, and errors as OSError.

Source: libbpf 1.1's bpf/libbpf.h and bpf/bpf.h; their ``*_opts`` structures are
declared up to the fields in use, which their size field allows.
"""

import ctypes
import os
import platform
import sys
import time
from collections.abc import Sequence
from ctypes import Structure, byref, c_char_p, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from functools import cache
from pathlib import Path
from typing import TypeVar

S = TypeVar("S", bound=Structure)
V = TypeVar("V", bound=Structure | c_uint32)

BPF_TCX_INGRESS = 46
BPF_TCX_EGRESS = 47
"""enum bpf_attach_type of include/uapi/linux/bpf.h; from Linux 6.6."""

BPF_TC_INGRESS = 1
BPF_TC_EGRESS = 2
"""enum bpf_tc_attach_point of libbpf.h: clsact."""


_ARRAY = 2
"""BPF_MAP_TYPE_ARRAY of enum bpf_map_type."""

BPF_TC_F_REPLACE = 1
BPF_ANY = 0
BPF_NOEXIST = 1

SYS_MEMBARRIER = {
    "x86_64": 324,
    "aarch64": 283,
    "riscv64": 283,
    "loongarch64": 283,
    "ppc64": 365,
    "ppc64le": 365,
    "s390x": 356,
}
"""The number of membarrier(2) by machine (include/uapi/asm-generic/unistd.h, and syscall.tbl of
each architecture that has its own), for 64-bit programs."""
MEMBARRIER_CMD_GLOBAL = 1
GRACE_S = 0.1
"""Wait without membarrier(2) (refused with nohz_full, or unknown): longer than a program runs."""


class SkBuff(Structure):
    """struct __sk_buff of include/uapi/linux/bpf.h: what a program run for a test sees and sets."""

    _fields_ = (
        *((name, c_uint32) for name in ("len", "pkt_type", "mark", "queue_mapping", "protocol")),
        *((name, c_uint32) for name in ("vlan_present", "vlan_tci", "vlan_proto", "priority")),
        *((name, c_uint32) for name in ("ingress_ifindex", "ifindex", "tc_index")),
        ("cb", c_uint32 * 5),
        *((name, c_uint32) for name in ("hash", "tc_classid", "data", "data_end", "napi_id")),
        *((name, c_uint32) for name in ("family", "remote_ip4", "local_ip4")),
        ("remote_ip6", c_uint32 * 4),
        ("local_ip6", c_uint32 * 4),
        *((name, c_uint32) for name in ("remote_port", "local_port", "data_meta")),
        ("flow_keys", c_uint64),
        ("tstamp", c_uint64),
        ("wire_len", c_uint32),
        ("gso_segs", c_uint32),
        ("sk", c_uint64),
        ("gso_size", c_uint32),
        ("tstamp_type", c_uint32),
        ("hwtstamp", c_uint64),
    )


class _TestRun(Structure):
    """struct bpf_test_run_opts."""

    _fields_ = (
        ("sz", c_size_t),
        ("data_in", c_void_p),
        ("data_out", c_void_p),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("ctx_in", c_void_p),
        ("ctx_out", c_void_p),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("retval", c_uint32),
        ("repeat", c_int),
        ("duration", c_uint32),
        ("flags", c_uint32),
        ("cpu", c_uint32),
        ("batch_size", c_uint32),
    )


class _TcHook(Structure):
    """struct bpf_tc_hook."""

    _fields_ = (
        ("sz", c_size_t),
        ("ifindex", c_int),
        ("attach_point", c_int),
        ("parent", c_uint32),
    )


class _TcOptions(Structure):
    """struct bpf_tc_opts."""

    _fields_ = (
        ("sz", c_size_t),
        ("prog_fd", c_int),
        ("flags", c_uint32),
        ("prog_id", c_uint32),
        ("handle", c_uint32),
        ("priority", c_uint32),
    )


@cache
def library() -> ctypes.CDLL:
    """Return libbpf, silent; OSError where it is not installed."""
    found = ctypes.CDLL("libbpf.so.1", use_errno=True)
    for name in (
        "bpf_object__open_file",
        "bpf_object__find_map_by_name",
        "bpf_object__find_program_by_name",
        "bpf_object__next_map",
        "bpf_program__attach",
        "bpf_map__initial_value",
        "bpf_map__name",
    ):
        getattr(found, name).restype = c_void_p
    found.bpf_map__name.restype = c_char_p
    found.libbpf_set_print.argtypes = [c_void_p]
    found.libbpf_set_print.restype = c_void_p
    found.libbpf_set_print(None)
    return found


def _raise(status: int) -> None:
    """Raise what a function reports, which returned ``status`` or set errno."""
    number = -status if status < -1 else ctypes.get_errno()
    raise OSError(number, os.strerror(number))


def _checked(status: int) -> int:
    if status < 0:
        _raise(status)
    return status


def _pointer(value: int | None) -> c_void_p:
    if not value:
        _raise(-1)
    return c_void_p(value)


def casts() -> bool:
    """Say whether the kernel has bpf_rdonly_cast(): from Linux 6.2 on."""
    return [int(part) for part in os.uname().release.split(".")[:2] if part.isdigit()] >= [6, 2]


class Object:
    """An object file's programs and maps, loaded into the kernel; a context manager.

    ``injected``: build the variant for the differential test; ``without``: the programs to leave
    out. Descriptors end with the context; what was pinned or attached stays. Raises OSError: ENOENT
    without the file, EPERM, or the kernel's reason to refuse a program.
    """

    def __init__(self, path: Path, injected: bool = False, without: Sequence[str] = ()) -> None:
        lib = library()
        self._object = _pointer(lib.bpf_object__open_file(c_char_p(os.fsencode(path)), None))
        try:
            self._set_constants((casts(), injected))
            for name in without:
                _checked(lib.bpf_program__set_autoload(self._find(name), ctypes.c_bool(False)))
            _checked(lib.bpf_object__load(self._object))
        except OSError:
            self.close()
            raise

    def __enter__(self) -> "Object":
        """Return the object."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the descriptors."""
        self.close()

    def close(self) -> None:
        """Close the descriptors."""
        library().bpf_object__close(self._object)

    def _set_constants(self, values: Sequence[bool]) -> None:
        """Set the constants, in their order: ``casts``, ``injected``."""
        lib, found = library(), None
        while found := lib.bpf_object__next_map(self._object, c_void_p(found)):
            if lib.bpf_map__name(c_void_p(found)).endswith(b".rodata"):
                size = c_size_t()
                place = _pointer(lib.bpf_map__initial_value(c_void_p(found), byref(size)))
                ctypes.memmove(place, bytes(values), len(values))

    def program(self, name: str) -> int:
        """Return the descriptor of a program."""
        return _checked(library().bpf_program__fd(self._find(name)))

    def _find(self, name: str) -> c_void_p:
        found = library().bpf_object__find_program_by_name(self._object, name.encode())
        return _pointer(found)

    def map(self, name: str) -> int:
        """Return the descriptor of a map."""
        lib = library()
        found = _pointer(lib.bpf_object__find_map_by_name(self._object, name.encode()))
        return _checked(lib.bpf_map__fd(found))

    def trace(self, name: str) -> int:
        """Attach a tracing program where its section says; return a descriptor of the link."""
        lib = library()
        link = _pointer(lib.bpf_program__attach(self._find(name)))
        try:
            return os.dup(_checked(lib.bpf_link__fd(link)))
        finally:
            lib.bpf_link__destroy(link)


def pin(descriptor: int, path: Path) -> None:
    """Give an object a name under a bpf file system, which keeps it alive."""
    _checked(library().bpf_obj_pin(descriptor, c_char_p(os.fsencode(path))))


def get(path: Path) -> int:
    """Return a new descriptor of a pinned object."""
    return _checked(library().bpf_obj_get(c_char_p(os.fsencode(path))))


def attach(program: int, ifindex: int, point: int) -> int:
    """Attach a program to a device by tcx and return the link; OSError EINVAL before Linux 6.6."""
    return _checked(library().bpf_link_create(program, ifindex, point, None))


def attach_classic(program: int, ifindex: int, point: int) -> bool:
    """Attach a program to a device's clsact queueing discipline, which is made where missing.

    Return whether it was made.
    """
    lib, made = library(), True
    hook = _TcHook(ctypes.sizeof(_TcHook), ifindex, point, 0)
    try:
        _checked(lib.bpf_tc_hook_create(byref(hook)))
    except FileExistsError:
        made = False
    options = _TcOptions(ctypes.sizeof(_TcOptions), program, BPF_TC_F_REPLACE, 0, 1, 1)
    _checked(lib.bpf_tc_attach(byref(hook), byref(options)))
    return made


def is_attached_classic(program: int, ifindex: int, point: int) -> bool:
    """Say whether a program is where ``attach_classic`` puts it."""
    lib = library()
    hook = _TcHook(ctypes.sizeof(_TcHook), ifindex, point, 0)
    options = _TcOptions(ctypes.sizeof(_TcOptions), 0, 0, 0, 1, 1)
    if lib.bpf_tc_query(byref(hook), byref(options)):
        return False
    return bool(options.prog_id == _program_id(program))


def detach_classic(ifindex: int, point: int) -> None:
    """Remove what ``attach_classic`` attached; OSError ENOENT where it is not there."""
    lib = library()
    hook = _TcHook(ctypes.sizeof(_TcHook), ifindex, point, 0)
    options = _TcOptions(ctypes.sizeof(_TcOptions), 0, 0, 0, 1, 1)
    _checked(lib.bpf_tc_detach(byref(hook), byref(options)))


def remove_classic(ifindex: int) -> None:
    """Remove a device's clsact queueing discipline, with all filters in it; OSError."""
    hook = _TcHook(ctypes.sizeof(_TcHook), ifindex, BPF_TC_INGRESS | BPF_TC_EGRESS, 0)
    _checked(library().bpf_tc_hook_destroy(byref(hook)))


def _program_id(program: int) -> int:
    """Return the kernel's number of a program: ``id`` of struct bpf_prog_info."""
    info = (c_uint32 * 2)()
    size = c_uint32(ctypes.sizeof(info))
    _checked(library().bpf_obj_get_info_by_fd(program, byref(info), byref(size)))
    return int(info[1])


def run(program: int, context: Structure, data: bytes = b"") -> int:
    """Run a program once, give and take its context, and return what it returned."""
    options = _TestRun(sz=ctypes.sizeof(_TestRun))
    options.ctx_in = ctypes.addressof(context)
    options.ctx_size_in = ctypes.sizeof(context)
    if data:
        buffer = ctypes.create_string_buffer(data, len(data))
        options.data_in, options.data_size_in = ctypes.addressof(buffer), len(data)
        options.ctx_out, options.ctx_size_out = options.ctx_in, options.ctx_size_in
    _checked(library().bpf_prog_test_run_opts(program, byref(options)))
    return int(options.retval)


def make_array(name: str, key_size: int, value_size: int, entries: int) -> int:
    """Make an array of ``entries`` values of 0 and return its descriptor; OSError."""
    make = library().bpf_map_create
    return _checked(make(_ARRAY, c_char_p(name.encode()), key_size, value_size, entries, None))


def lookup(descriptor: int, key: Structure | c_uint32, value: V) -> V:
    """Read a map's value into ``value`` and return it; OSError ENOENT where there is none."""
    _checked(library().bpf_map_lookup_elem(descriptor, byref(key), byref(value)))
    return value


def cpus() -> int:
    """Return how many values a per-CPU map has."""
    return _checked(library().libbpf_num_possible_cpus())


def lookup_each_cpu(descriptor: int, kind: type[S]) -> list[S]:
    """Return the values of a per-CPU array, whose size is a multiple of 8, at 0."""
    values = (kind * cpus())()
    _checked(library().bpf_map_lookup_elem(descriptor, byref(c_uint32(0)), byref(values)))
    return list(values)


def wait_for_programs() -> None:
    """Wait until every program that runs now has ended: for an RCU grace period, membarrier(2)."""
    number = SYS_MEMBARRIER.get(platform.machine()) if sys.maxsize > 2**32 else None
    libc = ctypes.CDLL(None, use_errno=True)
    if number is None or libc.syscall(number, MEMBARRIER_CMD_GLOBAL, 0, 0):
        time.sleep(GRACE_S)


def update(
    descriptor: int,
    key: Structure | c_uint32,
    value: Structure | c_uint32,
    flags: int = BPF_ANY,
) -> None:
    """Write a map's value; OSError EEXIST with ``BPF_NOEXIST`` where there is one."""
    library().bpf_map_update_elem.argtypes = [c_int, c_void_p, c_void_p, c_uint64]
    _checked(library().bpf_map_update_elem(descriptor, byref(key), byref(value), flags))


def delete(descriptor: int, key: Structure | c_uint32) -> None:
    """Delete a map's entry; OSError ENOENT where there is none."""
    _checked(library().bpf_map_delete_elem(descriptor, byref(key)))
