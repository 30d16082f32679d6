"""``ipeql example``."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import click

from ipeql.cli.output import counted, print_json, remark
from ipeql.cli.settings import Settings, options
from ipeql.errors import Code, IpeqlError, Problem
from ipeql.examples import EXAMPLES, SERVER, KeyPair, ends_with_keys, files, short

_LINK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")


def _address(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> IPv4Address | IPv6Address | None:
    try:
        return None if text is None else ip_address(text)
    except ValueError:
        message = f"{text!r} is not an address: write it like {SERVER}, a name does not do"
        raise click.BadParameter(message) from None


def _uplinks(
    context: click.Context, parameter: click.Parameter, names: tuple[str, ...]
) -> tuple[str, ...]:
    for name in names:
        if not _LINK.fullmatch(name):
            raise click.BadParameter(f"{name!r} is not the name of a link: `ip link` shows them")
    if len(names) == 1:
        raise click.BadParameter(f"{names[0]!r} is the only one: give the option for each uplink")
    if len({short(name) for name in names}) < len(names):
        raise click.BadParameter("two have the same name, or end alike: rename one")
    return names


@click.command()
@options
@click.argument("name", metavar="NAME", type=click.Choice(list(EXAMPLES)))
@click.option(
    "--server",
    metavar="ADDRESS",
    callback=_address,
    help="Address of the server, or of the hub, that the tunnels lead to.",
)
@click.option(
    "--uplink",
    "uplinks",
    metavar="LINK",
    multiple=True,
    callback=_uplinks,
    help="Name of an uplink, cable or line; give it for each of them.",
)
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the files below DIR, with fresh keys for WireGuard.",
)
@click.option("--force", is_flag=True, help="Overwrite files in DIR.")
@click.pass_obj
def example(
    settings: Settings,
    *,
    name: str,
    server: IPv4Address | IPv6Address | None,
    uplinks: tuple[str, ...],
    out: Path | None,
    force: bool,
) -> None:
    """Print complete files to begin with, for all ends.

    NAME is two-cables, two-uplinks (several uplinks to a rented server),
    serial-pair, or hub (two sites that meet at a server). Without --out the
    files are printed; keys, and what is not given, are placeholders. --out
    writes a tree for each end, such as DIR/home/etc and DIR/server/etc, to be
    copied to /etc there. Nothing is overwritten without --force.

    \b
    Example: ipeql example two-uplinks --server 203.0.113.1 \\
               --uplink eth0 --uplink wwan0 --out uplinks
    """
    if server and not EXAMPLES[name].server:
        raise click.UsageError(f"{name} has no server: leave out --server")
    made = files(name, uplinks, server or SERVER)
    if out is None:
        _print(settings, made)
        return
    if not uplinks:
        raise click.UsageError("--out needs --uplink LINK, for each of them")
    if EXAMPLES[name].server and not server:
        raise click.UsageError("--out needs --server ADDRESS")
    if not force:
        _refuse_to_overwrite(out, made)
    keys = {end: _fresh() for end in ends_with_keys(made)}
    _write(out, files(name, uplinks, server or SERVER, keys), force)
    remark(f"{counted(len(made), 'file')} in {out}")


def _print(settings: Settings, made: Mapping[str, str]) -> None:
    if settings.json:
        print_json({"files": made})
    else:
        click.echo("\n".join(f"##### {path}\n{text}" for path, text in made.items()), nl=False)


def _refuse_to_overwrite(out: Path, made: Mapping[str, str]) -> None:
    there = [out / path for path in made if os.path.lexists(out / path)]
    if there:
        message = f"{there[0]} is already there"
        help = "name another DIR; --force overwrites the files, with new keys for both ends"
        raise IpeqlError(Problem(Code.CANNOT_WRITE, message, help))


def _write(out: Path, made: Mapping[str, str], force: bool) -> None:
    """Write the files, those with keys for their owner only."""
    for name, text in made.items():
        path = out / name
        mode = 0o600 if "PrivateKey" in text else 0o644
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if force:
                path.unlink(missing_ok=True)
            path.touch(mode, exist_ok=False)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            message = f"cannot write {path}: {error.strerror}"
            raise IpeqlError(Problem(Code.CANNOT_WRITE, message, "name another DIR")) from error


def _fresh() -> KeyPair:
    if not shutil.which("wg"):
        message = "fresh keys need the program wg, which is not installed"
        raise IpeqlError(Problem(Code.NO_PROGRAM, message, "apt install wireguard-tools"))
    private = _wg("genkey")
    return KeyPair(private, _wg("pubkey", private))


def _wg(verb: str, given: str = "") -> str:
    done = subprocess.run(["wg", verb], input=given, check=True, text=True, stdout=subprocess.PIPE)
    return done.stdout.strip()
