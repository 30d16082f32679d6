"""The requests of the command to the daemon, over the control socket.

``ipeql.api.control`` describes the protocol. Every error leaves as ``IpeqlError`` with the exit
status that the daemon gave it; NotRunningError when nobody answers.
"""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ipeql.api.control import root_only, socket_path
from ipeql.cli.settings import Settings
from ipeql.errors import Code, ExitCode, IpeqlError, NotRunningError, Problem

ANSWER_TIMEOUT_S = 10.0

_AGAIN_S = 0.01

PASS_TIMEOUT_S = 120.0
"""Reload and Apply answer when their pass has ended."""


def call(method: str, timeout: float = ANSWER_TIMEOUT_S, **parameters: object) -> dict[str, Any]:
    """Return the daemon's result for ``method``; ``timeout`` in seconds."""
    with _connection(timeout) as connection:
        _send(connection, method, parameters)
        with connection.makefile("rb") as answers:
            return _read(answers.readline(), "result")


def has_files_of(settings: Settings) -> bool:
    """Say whether the daemon reads the files that the command line means; NotRunningError."""
    return settings.config is None or _directories() == [settings.config.resolve()]


def same_files(settings: Settings) -> None:
    """IpeqlError where ``--config`` names other files than those of the daemon that answers."""
    if not has_files_of(settings):
        used = ", ".join(map(str, _directories()))
        message = f"ipeqld runs with the files of {used}, not of {settings.config}"
        advice = "omit --config, or start ipeqld with that directory"
        raise IpeqlError(Problem(Code.BAD_REQUEST, message, advice))


def _directories() -> list[Path]:
    return [Path(each).resolve() for each in call("Describe").get("directories", [])]


def events() -> Iterator[dict[str, Any]]:
    """Yield events as they happen, until the daemon ends (NotRunningError)."""
    with _connection(ANSWER_TIMEOUT_S) as connection:
        _send(connection, "Monitor", {})
        with connection.makefile("rb") as answers:
            _read(answers.readline(), "result")
            connection.settimeout(None)
            while True:
                yield _read(answers.readline(), "event")


@contextlib.contextmanager
def _connection(timeout: float) -> Iterator[socket.socket]:
    path = socket_path()
    with contextlib.ExitStack() as stack:
        try:
            yield stack.enter_context(_connect(path, timeout))
        except TimeoutError:
            message = f"ipeqld did not answer within {timeout:g} s"
            raise IpeqlError(Problem(Code.TIMED_OUT, message, "see its journal")) from None
        except OSError as error:
            raise _not_running(f"{path}: {error.strerror or error}") from None


def _connect(path: Path, timeout: float) -> socket.socket:
    """Return a connection to the daemon; for root by the socket for root alone. OSError."""
    if os.geteuid() == 0:
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):  # an earlier version
            return _connect_to(root_only(path), timeout)
    return _connect_to(path, timeout)


def _connect_to(path: Path, timeout: float) -> socket.socket:
    deadline = time.monotonic() + timeout
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        while True:
            try:
                connection.connect(str(path))
            except BlockingIOError:  # its queue of connections is full: connect(2), EAGAIN
                if time.monotonic() > deadline:
                    raise TimeoutError from None
                time.sleep(_AGAIN_S)
            else:
                return connection
    except BaseException:
        connection.close()
        raise


def _send(connection: socket.socket, method: str, parameters: Mapping[str, object]) -> None:
    request = {"method": method, "parameters": parameters}
    with contextlib.suppress(BrokenPipeError):  # refused; the answer is there
        connection.sendall(json.dumps(request).encode() + b"\n")


def _read(line: bytes, key: str) -> dict[str, Any]:
    """Return what an answer has under ``key``; raise the error it carries instead."""
    if not line:
        raise _not_running("it has ended")
    try:
        answer: dict[str, dict[str, Any]] = json.loads(line)
        if "error" not in answer:
            return answer[key]
        failure = answer["error"]
        error = IpeqlError(Problem.from_json(problem) for problem in failure["problems"])
        error.exit_code = ExitCode(failure["exit_code"])
    except (ValueError, KeyError, TypeError) as fault:
        message = f"ipeqld gave an answer that this command cannot understand: {fault!r}"
        help = "install the same version of both, and restart ipeqld"
        raise IpeqlError(Problem(Code.BAD_REQUEST, message, help)) from None
    raise error


def _not_running(why: str) -> NotRunningError:
    help = "start it: systemctl start ipeql, or run ipeqld in the foreground"
    return NotRunningError(Problem(Code.NOT_RUNNING, f"ipeqld is not running ({why})", help))
