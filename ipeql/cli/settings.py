"""The options every verb takes, before or after its name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from ipeql.state import DesiredState

_Command = TypeVar("_Command", bound=Callable[..., object])


@dataclass
class Settings:
    """The values of the global options."""

    json: bool = False
    config: Path | None = None

    @property
    def directories(self) -> tuple[Path, ...]:
        """Return where configuration files are looked for."""
        from ipeql.config import SEARCH_PATH

        return (self.config,) if self.config else SEARCH_PATH

    def load(self) -> "DesiredState":
        """Read the configuration as the daemon would; ConfigError has all mistakes."""
        from ipeql.api.control import runtime_directory
        from ipeql.config import Layers

        return Layers(self.directories, runtime_directory()).read()


def options(command: _Command) -> _Command:
    """Add the global options to a command."""
    json_option = click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=_remember,
        help="Print the complete data as JSON.",
    )
    config_option = click.option(
        "--config",
        metavar="DIR",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        expose_value=False,
        callback=_remember,
        help="Read DIR/*.yaml instead of the search path.",
    )
    return json_option(config_option(command))


def _remember(context: click.Context, parameter: click.Parameter, value: object) -> None:
    settings = context.ensure_object(Settings)
    if value and parameter.name:
        setattr(settings, parameter.name, value)
