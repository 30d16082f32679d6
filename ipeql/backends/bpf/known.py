"""What a dataplane says of itself: a document in one of its maps."""

import json
from collections.abc import Sequence
from ctypes import c_uint32
from dataclasses import asdict, dataclass
from typing import Any

from ipeql.backends import table as tables
from ipeql.backends.bpf import layout
from ipeql.backends.bpf.dataplane import Dataplane
from ipeql.backends.ebpf import libbpf
from ipeql.backends.places import places
from ipeql.state import BundleTable

_ZERO = c_uint32(0)


@dataclass(frozen=True, slots=True)
class Known:
    """What a dataplane says of itself.

    The ifindex of the device it is for, the version of its programs, the table in force (None
    before the first), where each slave of that is counted, and the ifindex of the holder, 0: none.
    """

    ifindex: int
    version: str
    table: BundleTable | None
    places: Sequence[int]
    holder: int = 0

    def origins(self, table: BundleTable) -> list[int | None]:
        """Return for each slave of ``table`` its index in the active table."""
        rows = self.table.slaves if self.table else ()
        known = {row.ifindex: number for number, row in enumerate(rows)}
        return [known.get(row.ifindex) for row in table.slaves]

    def places_for(self, table: BundleTable) -> tuple[int, ...]:
        """Return where to count each slave of ``table``: those that stay, where they were."""
        origins = self.origins(table)
        staying = [None if origin is None else self.places[origin] for origin in origins]
        return places(staying, self.places)


def read(running: Dataplane) -> Known:
    """Return what a dataplane says of itself; OSError, ValueError, KeyError, TypeError."""
    text = bytes(libbpf.lookup(running["document"], _ZERO, layout.Document()).text)
    document: dict[str, Any] = json.loads(text.partition(b"\0")[0])
    table = tables.from_json(document["table"]) if document["table"] else None
    return Known(
        document["ifindex"],
        document["version"],
        table,
        document["places"],
        document["holder"],
    )


def write(running: Dataplane, known: Known) -> None:
    """Have a dataplane say this of itself; OSError."""
    text = json.dumps(asdict(known), default=str, separators=(",", ":")).encode()
    document = layout.Document()
    document.text[: len(text)] = text
    libbpf.update(running["document"], _ZERO, document)
