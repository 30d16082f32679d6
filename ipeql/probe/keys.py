"""The keys of key files, and the problems with them."""

import os

from ipeql.errors import Code, Problem

LARGEST = 4096

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
"""A pipe that nobody writes into is not waited for."""


class Keys:
    """Reads key files for one bundle. ``problems``: one for each that cannot be used."""

    def __init__(self, bundle: str) -> None:
        self._bundle = bundle
        self._keys: dict[str, bytes | None] = {"": b""}
        self.problems: tuple[Problem, ...] = ()

    def read(self, file: str) -> bytes | None:
        """Return the key, empty for no file, None where it cannot be read.

        Line ends behind it are not part of it.
        """
        if file not in self._keys:
            self._keys[file] = self._read(file)
        return self._keys[file]

    def _read(self, file: str) -> bytes | None:
        try:
            descriptor = os.open(file, _FLAGS)
            try:
                key = os.read(descriptor, LARGEST).rstrip(b"\r\n")
            finally:
                os.close(descriptor)
        except OSError as error:
            self._complain(f"its key file {file} cannot be read: {error.strerror}")
            return None
        if not key:
            self._complain(f"its key file {file} is empty")
        return key or None

    def _complain(self, what: str) -> None:
        help_ = "write the key that the far end has into it, readable for root alone"
        message = f"{self._bundle}: {what}; no path is probed with it, and nobody is answered"
        problem = Problem(Code.NO_KEY, message, help_, bundle=self._bundle)
        self.problems = (*self.problems, problem)
