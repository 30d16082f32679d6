"""The kernel's answers that say that the wanted state is there already."""

from collections.abc import Iterator
from contextlib import contextmanager

from pyroute2.netlink.exceptions import NetlinkError


@contextmanager
def so_already(*codes: int) -> Iterator[None]:
    """Take an answer with one of these codes for success."""
    try:
        yield
    except NetlinkError as error:
        if error.code not in codes:
            raise
