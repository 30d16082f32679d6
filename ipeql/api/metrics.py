"""The metrics by HTTP: ``GET /metrics`` at the address that the configuration names.

As in ``ipeql.api.control`` a client is bounded in size and time. What is wrong with the address or
with clients is a problem, never an error: the bundles do not depend on whoever asks for figures.
"""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

from ipeql.api.places import EACH, TOTAL, Places, User
from ipeql.api.sockets import Listener, peer, tcp_socket
from ipeql.documents.metrics import families
from ipeql.documents.openmetrics import OPENMETRICS, TEXT, exposition
from ipeql.errors import Code, IpeqlError, Problem
from ipeql.state import Endpoint

FRESH_S = 1.0
"""Who asks again within this time gets the same: any number of clients costs one reading."""

REMEMBERED_S = 600.0
"""A fault of a client is shown for so long after it was seen last."""

_MAX_REQUEST = 8 * 1024
_REQUEST_TIMEOUT_S = 5
_ANSWER_TIMEOUT_S = 10
_CHUNK = 64 * 1024
"""Bytes that wait for a client in our memory, beside the answer that all clients share."""

_REQUEST = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.[01]\r\n")
_ACCEPT = re.compile(rb"\r\naccept:[^\r\n]*application/openmetrics-text", re.I)

_GARBAGE = "a client sent what is no HTTP request"
_UNREAD = f"a client did not read its answer within {_ANSWER_TIMEOUT_S} s"
_CROWD = f"more clients at a time than {EACH} of a host or {TOTAL} in all, who are refused"

_log = logging.getLogger(__name__)


class MetricsServer:
    """Serves the status document that ``status`` returns as metrics, where ``listen`` says.

    ``problems``: why they are not served, and what clients do wrong; ``changed`` is called when a
    client is the first to do something wrong. Belongs to one event loop.
    """

    def __init__(
        self, status: Callable[[], Awaitable[dict[str, Any]]], changed: Callable[[], None]
    ) -> None:
        self._status = status
        self._changed = changed
        self._endpoint: Endpoint | None = None
        self._listener: Listener | None = None
        self._unserved: tuple[Problem, ...] = ()
        self._faults: dict[str, float] = {}
        self._made: dict[str, tuple[float, asyncio.Task[bytes]]] = {}

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Return what is wrong now, or was of late."""
        oldest = time.monotonic() - REMEMBERED_S
        self._faults = {what: at for what, at in self._faults.items() if at > oldest}
        clients = (
            Problem(
                Code.METRICS_CLIENT,
                f"metrics at {self._endpoint}: {what}",
                "let only those reach the address who are to read the metrics",
            )
            for what in self._faults
        )
        return (*self._unserved, *clients)

    def listen(self, endpoint: Endpoint | None) -> None:
        """Serve at ``endpoint`` from now on, or nowhere; where it cannot be, a later call tries.

        Whoever is being answered at another address gets the answer.
        """
        if endpoint == self._endpoint and (self._listener or endpoint is None):
            return
        self._endpoint = endpoint
        self._unserved, self._faults = (), {}
        if self._listener:
            self._listener.stop()
            self._listener = None
        if endpoint is None:
            return
        try:
            listening = tcp_socket(endpoint.address, endpoint.port)
        except OSError as error:
            self._unserved = (_unserved(endpoint, error),)
            return
        self._listener = Listener(
            listening,
            f"metrics at {endpoint}",
            peer,
            places=Places(),
            refusal=_answer("503 Service Unavailable", "try again\n"),
            refused=lambda: self._blame(_CROWD),
        )
        self._listener.serve(self._serve, _MAX_REQUEST)

    async def close(self) -> None:
        """Stop serving and close every connection."""
        for _, made in self._made.values():
            made.cancel()
        if self._listener:
            await self._listener.close()
            self._listener = None

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, user: User
    ) -> None:
        """Answer one request; the connection is closed afterwards."""
        writer.transport.set_write_buffer_limits(0)  # written: safe to close
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                request = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if not error.partial:  # who only looks whether somebody listens
                return
            request = error.partial
        except (TimeoutError, asyncio.LimitOverrunError):
            request = b""
        answer = memoryview(await self._answer(request))
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                for begin in range(0, len(answer), _CHUNK):
                    writer.write(answer[begin : begin + _CHUNK])
                    await writer.drain()
        except TimeoutError:
            self._blame(_UNREAD)

    async def _answer(self, request: bytes) -> bytes:
        asked = _REQUEST.match(request)
        if not asked or not request.endswith(b"\r\n\r\n"):
            self._blame(_GARBAGE)
            return _answer("400 Bad Request", f"{_GARBAGE}\n")
        method, target = asked.groups()
        if method not in (b"GET", b"HEAD"):
            return _answer("405 Method Not Allowed", "ask by GET\n", "Allow: GET, HEAD\r\n")
        if target.partition(b"?")[0] != b"/metrics":
            return _answer("404 Not Found", "the metrics are at /metrics\n")
        content_type = OPENMETRICS if _ACCEPT.search(request) else TEXT
        try:
            shown = await self._shown(content_type)
        except IpeqlError as error:
            return _answer("503 Service Unavailable", f"{error}\n")
        except Exception:
            _log.exception("the metrics could not be made")
            return _answer("500 Internal Server Error", "see the journal of ipeqld\n")
        return shown if method == b"GET" else shown[: shown.index(b"\r\n\r\n") + 4]

    async def _shown(self, content_type: str) -> bytes:
        """Return the whole answer; it is made once for all who ask at the same time."""
        at, made = self._made.get(content_type, (0.0, None))
        now = time.monotonic()
        if made is None or now - at > FRESH_S:
            made = asyncio.create_task(self._make(content_type))
            self._made[content_type] = now, made
        return await asyncio.shield(made)

    async def _make(self, content_type: str) -> bytes:
        status = await self._status()

        def shown() -> bytes:
            return _answer("200 OK", exposition(families(status), content_type), "", content_type)

        return await asyncio.to_thread(shown)  # a pass that is due does not wait for it

    def _blame(self, what: str) -> None:
        is_new = what not in self._faults
        self._faults[what] = time.monotonic()
        if is_new:
            self._changed()


def _answer(status: str, body: str | bytes, headers: str = "", content_type: str = TEXT) -> bytes:
    content = body.encode() if isinstance(body, str) else body
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(content)}\r\n{headers}Connection: close\r\n\r\n"
    )
    return head.encode() + content


def _unserved(endpoint: Endpoint, error: OSError) -> Problem:
    return Problem(
        Code.NO_METRICS,
        f"cannot serve metrics at {endpoint}: {error.strerror or error}",
        "choose another address or port for listen, or free this one; IPEQL tries again",
        endpoint.mark,
    )
