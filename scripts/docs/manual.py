r"""The generated parts of the manual pages, from ``.\" begin WHAT`` to ``.\" end``."""

import inspect
import re
from collections.abc import Iterator

import click

from ipeql.cli.changing.enslave import Enslave
from ipeql.cli.main import ipeql
from ipeql.cli.shim import ipeql_enslave
from ipeql.daemon import main as ipeqld
from ipeql.errors import DaemonExit, ExitCode
from scripts.docs.tables import TABLES, value, yaml_text

GLOBAL = ("--json", "--config", "--help")


def roff(text: str) -> str:
    """Return text as mdoc(7) takes it, `words` in back quotes in bold."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    text = re.sub(r"`([^`]*)`", r"\\fB\1\\fR", text)
    return re.sub(r"^(?=[.'])", r"\\&", text, flags=re.M)


def paragraphs(text: str) -> Iterator[str]:
    """Yield a help text as mdoc(7), paragraph by paragraph."""
    for number, paragraph in enumerate(text.split("\n\n")):
        if paragraph.startswith("\b\n"):
            yield f".Bd -literal\n{roff(paragraph[2:])}\n.Ed"
        else:
            yield (".Pp\n" if number else "") + roff(paragraph)


def option_list(command: click.Command) -> Iterator[str]:
    """Yield the options of a command, but for the global ones."""
    context = click.Context(command)
    options = [option for option in command.params if isinstance(option, click.Option)]
    records = [option.get_help_record(context) for option in options]
    rows = [record for record in records if record and not record[0].startswith(GLOBAL)]
    if isinstance(command, Enslave):
        rows.insert(0, ("--KEY VALUE", "A key of a slave, see ipeql.yaml(5)."))
    if rows:
        yield ".Bl -tag -width Ds"
        for name, help in rows:
            yield f".It {roff(name)}\n{roff(help)}"
        yield ".El"


def commands() -> Iterator[str]:
    """Yield every verb of ``ipeql`` with its help."""
    yield ".Bl -tag -width Ds"
    for name in ipeql.list_commands(click.Context(ipeql)):
        command = ipeql.commands[name]
        pieces = command.collect_usage_pieces(click.Context(command))
        arguments = " ".join(piece for piece in pieces if piece != "[OPTIONS]")
        yield f".It Cm {roff(name)}" + (f" Ar {roff(arguments)}" if arguments else "")
        yield from paragraphs(inspect.cleandoc(command.help or ""))
        yield from option_list(command)
    yield ".El"


def exit_status(statuses: type[ExitCode] | type[DaemonExit]) -> Iterator[str]:
    """Yield the exit statuses."""
    yield ".Bl -tag -width Ds -compact"
    for status in statuses:
        yield f".It {status.value}\n{status.name.replace('_', ' ').lower()}"
    yield ".El"


def keys() -> Iterator[str]:
    """Yield the keys of every mapping in a file."""
    for name, table in TABLES.items():
        yield f".Ss {name}\n{roff(table.get('description', 'A whole file.'))}"
        yield ".Bl -tag -width Ds"
        for key, schema in table["properties"].items():
            shown = value(schema)
            if "examples" in schema:
                shown += f", e.g. `{yaml_text(schema['examples'][0])}`"
            if key in table.get("required", []):
                shown += "; required"
            elif "default" in schema and schema["default"] not in ([], {}, None):
                shown += f"; default `{yaml_text(schema['default'])}`"
            yield f".It Cm {roff(key)} : {roff(shown)}\n{roff(schema['description'])}"
        yield ".El"


PARTS = {
    "commands": commands,
    "daemon options": lambda: option_list(ipeqld),
    "enslave options": lambda: option_list(ipeql_enslave),
    "exit status": lambda: exit_status(ExitCode),
    "daemon exit status": lambda: exit_status(DaemonExit),
    "keys": keys,
}


def expected(page: str) -> str:
    """Return ``page`` with its generated parts made anew."""

    def part(found: re.Match[str]) -> str:
        return "\n".join([f'.\\" begin {found[1]}', *PARTS[found[1]](), '.\\" end\n'])

    return re.sub(r'\.\\" begin (.+)\n(?s:.*?)\.\\" end\n', part, page)
