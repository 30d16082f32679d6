"""Whole sets of files to begin with, which ``ipeql example`` prints.

``NAME/END/etc`` below this directory has templates of what is in ``/etc`` of one end. In them
``$endpoint`` stands for the address of the server before a port, and ``$uplinks`` for all uplinks,
quoted. A file with ``UPLINK`` in its name, which is ``$short``, is one for each uplink. In other
files a line with one of these is one for each uplink:

==========  ================================================
$uplink     its name
$short      the same, short enough for ``wg-$short``
$n          its number, from 0
$number     that with three digits
==========  ================================================

``END-PRIVATE-KEY`` and ``END-PUBLIC-KEY`` stand for the keys of an end.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from string import Template

_ROOT = Path(__file__).parent
_EACH = re.compile(r"\$(uplink|short|n|number)\b")
_KEYS = re.compile(r"\b([A-Z-]+)-PRIVATE-KEY\b")

SHORT = 12
"""Characters of an uplink's name that a tunnel is named by, its last ones: of 15 ``wg-`` has 3."""


@dataclass(frozen=True, slots=True)
class Example:
    """What there is of a name: whom it is for, its uplinks unless others are given.

    ``server``: whether a machine with a fixed address is one of its ends.
    """

    meaning: str
    uplinks: tuple[str, ...]
    server: bool = False


EXAMPLES: Mapping[str, Example] = {
    "two-cables": Example("two machines, joined by cables", ("eth1", "eth2")),
    "two-uplinks": Example("uplinks to a server, by WireGuard", ("eth0", "wwan0"), server=True),
    "serial-pair": Example("two machines, joined by serial lines", ("ppp0", "ppp1")),
    "hub": Example("two sites that meet at a hub, by WireGuard", ("eth0", "wwan0"), server=True),
}
"""By name."""

SERVER = IPv4Address("203.0.113.1")
"""An address for documentation (RFC 5737)."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """The keys of an end for WireGuard, in base64."""

    private: str
    public: str


def files(
    name: str,
    uplinks: Sequence[str] = (),
    server: IPv4Address | IPv6Address = SERVER,
    keys: Mapping[str, KeyPair] | None = None,
) -> dict[str, str]:
    """Return the text of each file of an example, by its path ``END/etc/...``.

    ``uplinks``: those of the example unless given. ``keys``: by what :func:`ends_with_keys` says;
    what has none keeps its placeholder. KeyError: there is no such example.
    """
    uplinks = uplinks or EXAMPLES[name].uplinks
    values = {
        "endpoint": f"[{server}]" if server.version == 6 else str(server),
        "uplinks": ", ".join(f'"{uplink}"' for uplink in uplinks),
    }
    each = [
        values | {"uplink": uplink, "short": short(uplink), "n": str(n), "number": f"{n:03}"}
        for n, uplink in enumerate(uplinks)
    ]
    made: dict[str, str] = {}
    for path, template in _templates(name):
        if "UPLINK" in path:
            for mine in each:
                filled = Template(template).substitute(mine)
                made[path.replace("UPLINK", mine["short"])] = filled
        else:
            made[path] = "".join(
                Template(line).substitute(mine)
                for line in template.splitlines(keepends=True)
                for mine in (each if _EACH.search(line) else [values])
            )
    for end, pair in (keys or {}).items():
        for kind, key in (("PRIVATE", pair.private), ("PUBLIC", pair.public)):
            made = {path: text.replace(f"{end}-{kind}-KEY", key) for path, text in made.items()}
    return made


def ends_with_keys(made: Mapping[str, str]) -> list[str]:
    """Return the ends whose keys have placeholders in these files, such as ``HOME``."""
    return sorted({end for text in made.values() for end in _KEYS.findall(text)})


def short(uplink: str) -> str:
    """Return what a tunnel is named by."""
    return uplink[-SHORT:]


def _templates(name: str) -> Iterator[tuple[str, str]]:
    for path in sorted((_ROOT / name).rglob("*")):
        if path.is_file():
            yield path.relative_to(_ROOT / name).as_posix(), path.read_text(encoding="utf-8")
