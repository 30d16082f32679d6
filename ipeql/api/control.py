"""The control socket: how the ``ipeql`` command talks to the daemon.

A unix stream socket, one JSON object a line each way: ``{"method": "Describe", "parameters": {}}``
is answered with ``{"result": ...}`` or ``{"error": {"problems": [...], "exit_code": n}}``. Monitor
is answered with ``{"result": null}`` and then ``{"event": {...}}`` lines until the caller leaves.
Everybody may read. A change needs uid 0, which the kernel reports (SO_PEERCRED, unix(7)). Beside
the socket for everybody there is one that root alone can connect to: other users cannot fill its
queue of connections.
"""

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from ipeql.api.manager import Manager
from ipeql.api.places import EACH, Places, User
from ipeql.api.sockets import Listener, lock, uid, unix_socket
from ipeql.errors import Code, IpeqlError, NotPermittedError, Problem

_log = logging.getLogger(__name__)

_MAX_REQUEST = 64 * 1024
_IDLE_TIMEOUT_S = 60
_WRITE_TIMEOUT_S = 10
_CHANGING = frozenset({"Reload", "Apply", "Change", "Revert"})


def runtime_directory() -> Path:
    """Return the daemon's directory below /run: RUNTIME_DIRECTORY (systemd.exec(5)) or its own."""
    return Path(os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0] or "/run/ipeql")


def socket_path() -> Path:
    """Return where the control socket of the daemon is."""
    return runtime_directory() / "control"


def root_only(path: Path) -> Path:
    """Return where the control socket for root alone is, beside that for everybody at ``path``."""
    return path.with_name(path.name + ".root")


class ControlServer:
    """Serve a ``Manager`` on the control socket, as an async context manager.

    Entering raises IpeqlError while another daemon serves the same directory (ALREADY_RUNNING) or
    where the directory cannot be written; what an earlier daemon left there is replaced.
    """

    def __init__(self, manager: Manager, path: Path | None = None) -> None:
        self._manager = manager
        self._path = path or socket_path()
        self._sockets = {self._path: 0o666, root_only(self._path): 0o600}

    async def __aenter__(self) -> Self:
        """Take the lock, bind the sockets and begin to serve."""
        places, refusal = Places(), _line(_failure(_too_many()))
        try:
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            self._lock = lock(self._path.with_name(self._path.name + ".lock"))
            self._listeners = tuple(
                Listener(unix_socket(path, mode), str(path), uid, places=places, refusal=refusal)
                for path, mode in self._sockets.items()
            )
        except OSError as error:
            raise NotPermittedError(
                Problem(
                    Code.NOT_PERMITTED,
                    f"cannot serve {self._path}: {error.strerror or error}",
                    "run ipeqld as root, or set RUNTIME_DIRECTORY to a directory of its own",
                )
            ) from error
        for listener in self._listeners:
            listener.serve(self._serve, _MAX_REQUEST)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop serving, close every connection, remove the sockets."""
        for listener in self._listeners:
            await listener.close()
        for path in self._sockets:
            path.unlink(missing_ok=True)
        self._lock.close()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, user: User
    ) -> None:
        await _Client(self._manager, reader, writer, user).run()


class _Client:
    """One connection: reads requests, answers them in order, bounded in size and time."""

    def __init__(
        self,
        manager: Manager,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        user: User,
    ) -> None:
        self.user = user
        self._manager = manager
        self._reader = reader
        self._writer = writer
        writer.transport.set_write_buffer_limits(0)  # written: safe to close

    async def run(self) -> None:
        """Answer until the client closes, is silent for a minute, or sends too long a line."""
        while True:
            try:
                async with asyncio.timeout(_IDLE_TIMEOUT_S):
                    line = await self._reader.readline()
            except ValueError:  # a line beyond the reader's limit
                await self._send(_failure(_bad_request(f"a request exceeds {_MAX_REQUEST} bytes")))
                return
            if not line:
                return
            await self._answer(line)

    async def _answer(self, line: bytes) -> None:
        reply: Mapping[str, object] | None = None
        try:
            method, parameters = _parse(line)
            if method in _CHANGING and self.user != 0:
                raise NotPermittedError(
                    Problem(Code.NOT_PERMITTED, f"{method} needs root", "run the command as root")
                )
            if method != "Monitor":
                reply = {"result": await self._call(method, parameters)}
        except IpeqlError as error:
            reply = _failure(error)
        except Exception as error:
            _log.exception("%s failed", line[:80])
            fault = Problem(
                Code.INTERNAL, f"internal error in ipeqld: {error!r}", "see its journal"
            )
            reply = _failure(IpeqlError(fault))
        await (self._send(reply) if reply else self._monitor())

    async def _call(self, method: str, parameters: dict[str, Any]) -> object:
        match method, parameters:
            case "Describe", {}:
                return await self._manager.describe()
            case "Plan", {}:
                return await self._manager.plan()
            case "Reload", {}:
                return await self._manager.reload()
            case "Apply", {}:
                return await self._manager.apply()
            case "Show", {"bundle": str(bundle)}:
                return await self._manager.show(bundle)
            case "Ping", {"bundle": str(bundle)}:
                return await self._manager.ping(bundle)
            case "Paths", {"bundle": str(bundle)}:
                return await self._manager.paths(bundle)
            case "Change", {"change": dict(change)}:
                return await self._manager.change(change, saved=parameters.get("saved") is True)
            case "Revert", {}:
                return await self._manager.revert(str(parameters.get("bundle", "")))
        raise _bad_request(f"unknown method {method!r} or wrong parameters")

    async def _monitor(self) -> None:
        """Send events until the client leaves or stops reading them."""
        pump = asyncio.ensure_future(self._pump())
        try:
            while await self._reader.read(_MAX_REQUEST):
                pass
        finally:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)
        raise ConnectionResetError

    async def _pump(self) -> None:
        try:
            async with contextlib.aclosing(self._manager.subscribe()) as events:
                await self._send({"result": None})
                async for event in events:
                    await self._send({"event": event})
        finally:
            self._writer.transport.abort()  # wakes the reader

    async def _send(self, reply: Mapping[str, object]) -> None:
        self._writer.write(_line(reply))
        async with asyncio.timeout(_WRITE_TIMEOUT_S):  # wait_for before 3.12 may lose a cancel
            await self._writer.drain()


def _parse(line: bytes) -> tuple[str, dict[str, Any]]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise _bad_request("a request is one JSON object in one line") from None
    match request:
        case {"method": str(method), **rest}:
            parameters = rest.get("parameters", {})
            if isinstance(parameters, dict) and not rest.keys() - {"parameters"}:
                return method, parameters
    raise _bad_request('a request has the form {"method": "NAME", "parameters": {}}')


def _line(reply: Mapping[str, object]) -> bytes:
    return json.dumps(reply).encode() + b"\n"


def _too_many() -> IpeqlError:
    message = f"ipeqld has no place for another request: a user may have {EACH} at a time"
    help = "end an 'ipeql monitor' or other program that is connected to it"
    return IpeqlError(Problem(Code.TOO_MANY_REQUESTS, message, help))


def _bad_request(message: str) -> IpeqlError:
    return IpeqlError(Problem(Code.BAD_REQUEST, message))


def _failure(error: IpeqlError) -> dict[str, object]:
    problems = [problem.to_json() for problem in error.problems]
    return {"error": {"problems": problems, "exit_code": int(error.exit_code)}}
