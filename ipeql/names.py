"""Names of links and files: bytes in the kernel; elsewhere text that is safe to show.

The kernel takes any byte but NUL, ``/``, ``:`` and white space into a link's name (dev_valid_name,
net/core/dev.c), and any but NUL and ``/`` into a file's.
"""

import os
from pathlib import Path


def shown(name: bytes) -> str:
    r"""Return a name as text that is valid in a terminal, a log, JSON and D-Bus.

    What is not printable UTF-8 is written as ``\xNN`` or ``\u...``.
    """
    return "".join(map(_shown, name.decode("utf-8", "surrogateescape")))


def shown_path(path: Path) -> str:
    """Return a path as such text."""
    return shown(os.fsencode(path))


def _shown(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character if character.isprintable() else character.encode("unicode_escape").decode()
