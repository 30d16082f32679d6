"""A document shown again every second, until Ctrl-C."""

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

REFRESH_S = 1.0

Document = Mapping[str, Any]


def watch(
    fetch: Callable[[], Document],
    shown: Document,
    draw: "Callable[[Document, Console], RenderableType]",
    write: Callable[[Document], None],
    *,
    as_json: bool,
) -> None:
    """Show ``shown``, and every second what ``fetch`` returns.

    On a terminal it is ``draw`` of it, in place; else ``write`` is called; or it is one line of
    JSON each time.
    """
    from rich.live import Live

    from ipeql.cli.reading import screen

    console = screen.console()
    live = Live(console=console, auto_refresh=False) if console.is_terminal else None
    with contextlib.suppress(KeyboardInterrupt), live or contextlib.nullcontext():
        while True:
            if as_json:
                click.echo(json.dumps(shown))
            elif live:
                live.update(draw(shown, console), refresh=True)
            else:
                write(shown)
            time.sleep(REFRESH_S)
            shown = fetch()
