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

from ipeql.api.places import Places, User
from ipeql.errors import Code, IpeqlError, Problem
from ipeql.state import Address

_ACCEPTED_AT_ONCE = 16
"""Connections accepted before the rest of the daemon runs again."""

_PAUSE_S = 1.0
"""Wait where a connection cannot be accepted: no descriptor is left."""

_PEERCRED = struct.Struct("3i")

_log = logging.getLogger(__name__)

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter, User], Awaitable[None]]
"""Talk to one client, whose user is given. It may raise ConnectionError and TimeoutError."""


class Listener:
    """A listening stream socket called ``name``, served until ``close``.

    ``user`` says whose a connection is. One whose user has no place is sent ``refusal`` and closed.
    It needs neither a task nor a buffer, so many of them do not disturb other users. ``refused`` is
    called then.
    """

    def __init__(
        self,
        listening: socket.socket,
        name: str,
        user: Callable[[socket.socket], User],
        *,
        places: Places,
        refusal: bytes,
        refused: Callable[[], None] = lambda: None,
    ) -> None:
        self._socket = listening
        self._name = name
        self._user = user
        self._places = places
        self._refusal = refusal
        self._refused = refused
        self._clients: set[asyncio.Task[None]] = set()
        self._stuck = False

    def serve(self, serve: Serve, limit: int) -> None:
        """Begin to accept; a client's line may have ``limit`` bytes."""
        self._serve, self._limit = serve, limit
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._accept)

    def stop(self) -> None:
        """Accept nobody any more; who is being served stays."""
        self._loop.remove_reader(self._socket)
        self._socket.close()

    async def close(self) -> None:
        """Stop, and close every connection."""
        self.stop()
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

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
            user = self._user(connection)
            if self._places.take(user):
                client = self._loop.create_task(self._talk(connection, user))
                self._clients.add(client)
                client.add_done_callback(self._clients.discard)
            else:
                self._refused()
                with connection, contextlib.suppress(OSError):
                    connection.send(self._refusal, socket.MSG_DONTWAIT)

    def _pause(self, error: OSError) -> None:
        if not self._stuck:
            _log.error("no connection can be accepted on %s: %s", self._name, error.strerror)
        self._stuck = True
        self._loop.remove_reader(self._socket)
        self._loop.call_later(_PAUSE_S, self._resume)

    def _resume(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.add_reader(self._socket, self._accept)

    async def _talk(self, connection: socket.socket, user: User) -> None:
        try:
            reader, writer = await asyncio.open_connection(sock=connection, limit=self._limit)
            try:
                await self._serve(reader, writer, user)
            finally:
                writer.transport.abort()
        except (ConnectionError, TimeoutError):
            pass  # the client vanished, sends nothing, or does not read
        finally:
            self._places.free(user)


def unix_socket(path: Path, mode: int) -> socket.socket:
    """Return a listening unix stream socket at ``path``, with permissions ``mode``. OSError."""
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    listening.bind(str(path))
    path.chmod(mode)
    listening.listen(socket.SOMAXCONN)
    return listening


def tcp_socket(address: Address, port: int) -> socket.socket:
    """Return a listening TCP socket. OSError.

    At ``::`` it takes IPv4 too. It may be bound while connections of an earlier one are closing.
    """
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.version == 6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.bind((str(address), port))
        listening.listen(socket.SOMAXCONN)
    except OSError:
        listening.close()
        raise
    return listening


def peer(connection: socket.socket) -> str:
    """Return the address of the other host; empty where the connection is gone already."""
    try:
        return str(connection.getpeername()[0])
    except OSError:
        return ""


def uid(connection: socket.socket) -> int:
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
