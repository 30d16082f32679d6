"""``ipeqld``: connects the pass with the events that start it.

An event of the kernel or of a backend, a signal, a request or a timer starts the same pass. If the
configuration cannot be read, the last good one stays in force; at the start, the good files are
used. SIGTERM or SIGINT ends the daemon. It then removes the bundles, unless it has the option
``--keep`` or the service manager restarts it.
"""

import asyncio
import contextlib
import logging
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ipeql.api.control import ControlServer
from ipeql.api.dbus import service
from ipeql.config import SEARCH_PATH
from ipeql.errors import ConfigError, DaemonExit, IpeqlError
from ipeql.manager import BundleManager
from ipeql.observe import Watcher
from ipeql.service import journal, notify
from ipeql.service.unit import is_restarting

if TYPE_CHECKING:
    from ipeql.api.dbus.service import Service

RESTART_S = 2.0
"""Wait before a D-Bus service that has ended is started again."""

_log = logging.getLogger(__name__)


async def run(directories: Sequence[Path], keep: Callable[[], bool]) -> None:
    """Serve the configuration of ``directories`` until a signal ends it.

    ``keep`` is called at the end; if it returns True, the bundles stay. IpeqlError: the daemon
    cannot start.
    """
    notify.working()
    manager = BundleManager(directories)
    dbus = service(manager)
    if dbus:
        manager.telling.add(dbus)
    manager.load()
    stop = asyncio.Event()
    reloads: set[asyncio.Task[None]] = set()

    def hung_up() -> None:
        task = asyncio.create_task(_reload(manager))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, hung_up)
    async with ControlServer(manager), Watcher() as watcher:
        passes = asyncio.create_task(manager.passes())
        watching = asyncio.create_task(_watch(watcher, manager))
        sampling = asyncio.create_task(manager.sampling())
        probing = asyncio.create_task(manager.probing())
        stopping = asyncio.create_task(stop.wait())
        serving = [asyncio.create_task(_keep_serving(dbus))] if dbus else []
        await asyncio.wait({passes, watching, stopping}, return_when="FIRST_COMPLETED")
        notify.stopping()
        for task in (passes, watching, sampling, probing, stopping, *serving, *reloads):
            task.cancel()
        await asyncio.gather(sampling, probing, *serving, return_exceptions=True)
        outcome = await asyncio.gather(passes, watching, return_exceptions=True)
        faults = [error for error in outcome if isinstance(error, Exception)]
        await manager.close(destroy=not faults and not keep())
        if faults:  # a bug of ours: the bundles stay, and the next daemon adopts them
            raise faults[0]


async def _watch(watcher: Watcher, manager: BundleManager) -> None:
    while True:
        await watcher.changed()
        manager.wake()


async def _keep_serving(dbus: "Service") -> None:
    """Serve D-Bus, and start it again after every fault: the bundles do not depend on it."""
    while True:
        try:
            await dbus.run()
        except Exception:
            _log.exception("the D-Bus service ended; it is started again")
        await asyncio.sleep(RESTART_S)


async def _reload(manager: BundleManager) -> None:
    with contextlib.suppress(IpeqlError):  # reported where it was found
        await manager.reload()


def _allow_open_files() -> None:
    """Raise the limit of open files to the hard limit: a bundle on tun has two of them open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Read DIR/*.yaml instead of the search path.",
)
@click.option("--keep", is_flag=True, help="Leave the bundles running at the end.")
@click.option(
    "--unit",
    metavar="NAME",
    default="",
    help="The daemon's own unit: leave the bundles running if systemd restarts it.",
)
def main(config: Path | None, keep: bool, unit: str) -> None:
    """Keep the bundles as configured in /etc/ipeql/*.yaml. Runs in the foreground.

    SIGHUP reads the files again. SIGTERM removes the bundles and ends the daemon.
    """
    journal.set_up()
    _allow_open_files()

    def keeps() -> bool:
        return keep or (bool(unit) and is_restarting(unit))

    try:
        asyncio.run(run((config,) if config else SEARCH_PATH, keeps))
    except ConfigError:
        sys.exit(DaemonExit.CONFIG_INVALID)
    except IpeqlError as error:
        for problem in error.problems:
            journal.problem(problem)
        sys.exit(DaemonExit.ERROR)


if __name__ == "__main__":
    main()
