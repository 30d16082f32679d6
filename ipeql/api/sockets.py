"""The daemon's lock, and its sockets, which accept connections while there is a place."""

import asyncio
import contextlib
import fcntl
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TextIO

from ipeql.api.places import Places
from ipeql.errors import Code, IpeqlError, Problem

_ACCEPTED_AT_ONCE = 16
"""Connections accepted before the rest of the daemon runs again."""

_PAUSE_S = 1.0
"""Wait where a connection cannot be accepted: no descriptor is left."""

_PEERCRED = struct.Struct("3i")

_log = logging.getLogger(__name__)

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[None]]
"""Talk to one client, whose uid is given. It may raise ConnectionError and TimeoutError."""


class Listener:
    """A unix stream socket at ``path`` with permissions ``mode``, served until ``close``.

    A connection whose user has no place is sent ``refusal`` and closed. It needs neither a task nor
    a buffer, so many of them do not disturb other users.
    """

    def __init__(self, path: Path, mode: int, places: Places, refusal: bytes) -> None:
        self._path = path
        self._places = places
        self._refusal = refusal
        self._clients: set[asyncio.Task[None]] = set()
        self._stuck = False
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(path))
        path.chmod(mode)
        self._socket.listen(socket.SOMAXCONN)

    def serve(self, serve: Serve, limit: int) -> None:
        """Begin to accept; a client's line may have ``limit`` bytes."""
        self._serve, self._limit = serve, limit
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._accept)

    async def close(self) -> None:
        """Stop, close every connection, remove the socket."""
        self._loop.remove_reader(self._socket)
        self._socket.close()
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                connection, _ = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(error)
                return
            self._stuck = False
            uid = _uid(connection)
            if self._places.take(uid):
                client = self._loop.create_task(self._talk(connection, uid))
                self._clients.add(client)
                client.add_done_callback(self._clients.discard)
            else:
                with connection, contextlib.suppress(OSError):
                    connection.send(self._refusal, socket.MSG_DONTWAIT)

    def _pause(self, error: OSError) -> None:
        if not self._stuck:
            _log.error("no connection can be accepted on %s: %s", self._path, error.strerror)
        self._stuck = True
        self._loop.remove_reader(self._socket)
        self._loop.call_later(_PAUSE_S, self._resume)

    def _resume(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.add_reader(self._socket, self._accept)

    async def _talk(self, connection: socket.socket, uid: int) -> None:
        try:
            reader, writer = await asyncio.open_unix_connection(sock=connection, limit=self._limit)
            try:
                await self._serve(reader, writer, uid)
            finally:
                writer.transport.abort()
        except (ConnectionError, TimeoutError):
            pass  # the client vanished, sends nothing, or does not read
        finally:
            self._places.free(uid)


def _uid(connection: socket.socket) -> int:
    """Return the uid of the client, as the kernel reports it: unix(7), SO_PEERCRED."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED.size)
    return int(_PEERCRED.unpack(found)[1])


def lock(path: Path) -> TextIO:
    """Take the daemon's lock. It is a POSIX lock, so a worker does not inherit it from its daemon.

    IpeqlError, ALREADY_RUNNING, where another process has it; OSError where it cannot be written.
    """
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
                "stop it first, or start this one with its own RUNTIME_DIRECTORY",
            )
        ) from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def _private(path: Path) -> int:
    """Open a file that only we may read: a reader could lock it and block the next daemon."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor
