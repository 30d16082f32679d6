"""rtnetlink dumps, decoded no further than needed.

A link message has about forty attributes, of which IPEQL wants six: pyroute2's own decoder takes
some 250 us for it, this one 20. pyroute2 sends, receives and matches answers to requests; the
parser it is given splits a message into the fixed part and the raw attributes.
Source of the format: include/uapi/linux/netlink.h and rtnetlink.h.
"""

import os
from collections.abc import Iterator
from struct import Struct
from typing import Any, NamedTuple

from pyroute2 import AsyncIPRoute
from pyroute2.netlink import NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR
from pyroute2.netlink.nlsocket import NetlinkRequest

_MESSAGE_HEADER = Struct("=IHHI")  # length, type, flags, sequence number; the port id is skipped
_MESSAGE_HEADER_SIZE = 16
_ERROR = Struct("=i")
_ATTRIBUTE_HEADER = Struct("=HH")  # length, type
_TYPE_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER


class Message(NamedTuple):
    """One rtnetlink message: the bytes of its fixed part and its attributes by type."""

    fixed: bytes
    attributes: dict[int, bytes]


def attributes(data: bytes) -> dict[int, bytes]:
    """Return the attributes in ``data`` by type; of two with the same type, the later."""
    return dict(_attributes(data))


def repeated(data: bytes, kind: int) -> list[bytes]:
    """Return every attribute of one type in ``data``."""
    return [value for its, value in _attributes(data) if its == kind]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + _ATTRIBUTE_HEADER.size <= len(data):
        length, kind = _ATTRIBUTE_HEADER.unpack_from(data, offset)
        if length < _ATTRIBUTE_HEADER.size:
            break
        yield kind & _TYPE_MASK, data[offset + _ATTRIBUTE_HEADER.size : offset + length]
        offset += (length + 3) & ~3


async def dump(kernel: AsyncIPRoute, kind: int, request: Any, size: int) -> list[Message]:
    """Return every message the kernel has for an ``RTM_GET*`` request of type ``kind``.

    ``request``: pyroute2's message, filled in; ``size``: bytes of the fixed part of the answers.
    A dump during which the tables changed may lack entries (NLM_F_DUMP_INTR): it is repeated.
    Raises OSError where the kernel refuses.
    """
    interrupted = False

    def parse(data: bytes, offset: int, length: int) -> dict[str, Any]:
        nonlocal interrupted
        _, answer, flags, sequence = _MESSAGE_HEADER.unpack_from(data, offset)
        body = data[offset + _MESSAGE_HEADER_SIZE : offset + length]
        if answer in (NLMSG_ERROR, NLMSG_DONE) and (code := -_ERROR.unpack_from(body)[0]):
            raise OSError(code, os.strerror(code))
        interrupted |= bool(flags & NLM_F_DUMP_INTR)
        header = {"type": answer, "flags": flags, "sequence_number": sequence, "error": None}
        return {"header": header, "message": Message(body[:size], attributes(body[size:]))}

    while True:
        asked = NetlinkRequest(
            kernel, request, msg_type=kind, msg_flags=NLM_F_REQUEST | NLM_F_DUMP, parser=parse
        )
        await asked.send()
        answers = [answer["message"] async for answer in asked.response()]
        if not interrupted:
            return answers
        interrupted = False
