"""The control socket: how the ``ipeql`` command talks to the daemon.

A unix stream socket, one JSON object a line each way: ``{"method": "Describe", "parameters": {}}``
is answered with ``{"result": ...}`` or ``{"error": {"problems": [...], "exit_code": n}}``. Monitor
is answered with ``{"result": null}`` and then ``{"event": {...}}`` lines until the caller leaves.
Reading is free; what changes the machine needs uid 0, which the kernel vouches for (SO_PEERCRED,
unix(7)).
"""

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TextIO

from ipeql.api.manager import Manager
from ipeql.errors import Code, IpeqlError, NotPermittedError, Problem

_log = logging.getLogger(__name__)

_MAX_REQUEST = 64 * 1024
_MAX_CLIENTS = 64
_IDLE_TIMEOUT_S = 60
_WRITE_TIMEOUT_S = 10
_PEERCRED = struct.Struct("3i")
_CHANGING = frozenset({"Reload", "Apply", "Change", "Revert"})


def runtime_directory() -> Path:
    """Return the daemon's directory below /run: RUNTIME_DIRECTORY (systemd.exec(5)) or its own."""
    return Path(os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0] or "/run/ipeql")


def socket_path() -> Path:
    """Return where the control socket of the daemon is."""
    return runtime_directory() / "control"


class ControlServer:
    """Serve a ``Manager`` on the control socket, as an async context manager.

    Entering raises IpeqlError while another daemon serves the same directory (ALREADY_RUNNING) or
    where the directory cannot be written; what a dead daemon left there is replaced.
    """

    def __init__(self, manager: Manager, path: Path | None = None) -> None:
        self._manager = manager
        self._path = path or socket_path()
        self._clients: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Take the lock, bind the socket and begin to serve."""
        try:
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            self._lock = _lock(self._path.with_name(self._path.name + ".lock"))
            listener = _listen(self._path)
        except OSError as error:
            raise NotPermittedError(
                Problem(
                    Code.NOT_PERMITTED,
                    f"cannot serve {self._path}: {error.strerror or error}",
                    "run ipeqld as root, or set RUNTIME_DIRECTORY to a directory of its own",
                )
            ) from error
        self._server = await asyncio.start_unix_server(
            self._serve, sock=listener, limit=_MAX_REQUEST
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop serving, let every client go, remove the socket."""
        self._server.close()
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        self._path.unlink(missing_ok=True)
        self._lock.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        credentials = writer.get_extra_info("socket").getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED.size
        )
        client = _Client(self._manager, reader, writer, uid=_PEERCRED.unpack(credentials)[1])
        if len(self._clients) >= _MAX_CLIENTS and client.uid != 0:
            writer.transport.abort()
            return
        self._clients.add(task)
        try:
            await client.run()
        except (ConnectionError, TimeoutError):
            pass  # it vanished, sends nothing, or does not read: its own affair
        except asyncio.CancelledError:
            pass  # the server closes; asyncio before 3.12 logs a cancelled handler as a fault
        finally:
            self._clients.discard(task)
            writer.transport.abort()


class _Client:
    """One connection: reads requests, answers them in order, bounded in size and time."""

    def __init__(
        self,
        manager: Manager,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        uid: int,
    ) -> None:
        self.uid = uid
        self._manager = manager
        self._reader = reader
        self._writer = writer
        writer.transport.set_write_buffer_limits(0)  # drained: with the kernel, safe to close

    async def run(self) -> None:
        """Answer until the client closes, sends no line for a minute, or one that is too long."""
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
            if method in _CHANGING and self.uid != 0:
                raise NotPermittedError(
                    Problem(Code.NOT_PERMITTED, f"{method} needs root", "run the command as root")
                )
            if method != "Monitor":
                reply = {"result": await self._call(method, parameters)}
        except IpeqlError as error:
            reply = _failure(error)
        except Exception as error:
            _log.exception("%s failed", line[:80])
            fault = Problem(Code.INTERNAL, f"internal error in ipeqld: {error!r}", "see its log")
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
        self._writer.write(json.dumps(reply).encode() + b"\n")
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


def _bad_request(message: str) -> IpeqlError:
    return IpeqlError(Problem(Code.BAD_REQUEST, message))


def _failure(error: IpeqlError) -> dict[str, object]:
    problems = [problem.to_json() for problem in error.problems]
    return {"error": {"problems": problems, "exit_code": int(error.exit_code)}}


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o666)
    return listener


def _private(path: Path) -> int:
    """Open a file for us alone: whoever may read it may lock it, and keep the next daemon out."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor


def _lock(path: Path) -> TextIO:
    """Take the daemon's lock: a POSIX one, which a dead daemon's orphaned workers do not hold."""
    file = os.fdopen(_private(path), "a+")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        other = file.read().strip()
        file.close()
        raise IpeqlError(
            Problem(
                Code.ALREADY_RUNNING,
                f"ipeqld runs already in {path.parent} (process {other})",
                "stop it first, or give this one its own RUNTIME_DIRECTORY",
            )
        ) from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file
