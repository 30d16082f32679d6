"""Pages of the documentation with a table of what was measured among other things. Pure."""

from collections.abc import Callable, Sequence

from bench.report.lines import beside_1995
from bench.report.relatives import side_by_side
from bench.report.results import Run

BEGIN = "<!-- begin: python -m bench report -->"
END = "<!-- end: python -m bench report -->"

TABLES: dict[str, Callable[[Sequence[Run]], str]] = {
    "relatives.md": side_by_side,
    "serial.md": beside_1995,
}
"""What stands between the marks, by page."""


def put_into(page: str, table: str) -> str:
    """Return ``page`` with ``table`` between its marks; ValueError where it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"
