"""A bare network namespace for a test, gone afterwards."""

import asyncio
import os
import secrets
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack

import pytest

from lab.network import netns


class Namespace:
    """A network namespace with nothing but its loopback."""

    def __init__(self) -> None:
        self.name = f"ipeql-test-{os.getpid()}-{secrets.token_hex(3)}"

    def ip(self, *commands: str) -> None:
        """Run ``ip`` commands inside, in one batch."""
        subprocess.run(
            ["ip", "-n", self.name, "-batch", "-"],
            input="\n".join(commands) + "\n",
            text=True,
            check=True,
            timeout=20,
        )

    def run_program(self, *command: str) -> None:
        """Run a program inside."""
        entry = ["nsenter", f"--net={netns.RUN / self.name}", "--", *command]
        subprocess.run(entry, check=True, timeout=20)

    def run(self, body: Callable[[], Coroutine[None, None, None]], timeout: float = 20) -> None:
        """Run the coroutine function ``body`` in a thread inside, at most ``timeout`` seconds."""
        netns.inside(self.name, lambda: asyncio.run(asyncio.wait_for(body(), timeout)))


@pytest.fixture
def make_namespace() -> Iterator[Callable[[], Namespace]]:
    """Return a function that makes namespaces; all are removed after the test."""
    if os.geteuid() != 0:
        pytest.skip("needs root to make network namespaces")
    with ExitStack() as stack:

        def make() -> Namespace:
            namespace = Namespace()
            stack.callback(netns.end, namespace.name)
            netns.create(namespace.name)
            return namespace

        yield make


@pytest.fixture
def namespace(make_namespace: Callable[[], Namespace]) -> Namespace:
    """Return a fresh namespace."""
    return make_namespace()
