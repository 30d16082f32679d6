"""A host of the bench: this machine itself, or a network namespace beside it.

Nothing but iproute2 by subprocess: in an emulated kernel every import costs seconds.
"""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class Host:
    """Where commands run: in the network namespace ``namespace``, empty: in this process's own."""

    def __init__(self, namespace: str = "") -> None:
        self.namespace = namespace

    def command(self, *command: str) -> list[str]:
        """Return the command that runs ``command`` in this host."""
        entry = ("nsenter", f"--net=/run/netns/{self.namespace}", "--") if self.namespace else ()
        return [*entry, *command]

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command here whose stdout is to be read."""
        return subprocess.Popen(
            self.command(*command), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def run(self, *command: str, timeout: float = 3600) -> str:
        """Return the stdout of a command run here; RuntimeError with its stderr when it fails.

        The time limit is generous: the instruction clock runs on while a disk is waited for.
        """
        done = subprocess.run(
            self.command(*command), capture_output=True, text=True, timeout=timeout, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
        return done.stdout

    def ip(self, *lines: str) -> None:
        """Have iproute2's ip do ``lines`` as one batch; RuntimeError where one of them fails."""
        self._batch("ip", lines)

    def tc(self, *lines: str) -> None:
        """Have iproute2's tc do ``lines`` as one batch; RuntimeError where one of them fails."""
        self._batch("tc", lines)

    def _batch(self, program: str, lines: Sequence[str]) -> None:
        place = ("-netns", self.namespace) if self.namespace else ()
        done = subprocess.run(
            (program, *place, "-batch", "-"),
            input="".join(f"{line}\n" for line in lines),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr.strip()}")

    @contextmanager
    def links(self, *names: str) -> Iterator[None]:
        """Delete the links ``names`` when the context ends, those that are still there."""
        try:
            yield
        finally:
            self.forget(names)

    def forget(self, links: Sequence[str]) -> None:
        """Delete those of ``links`` that there are."""
        shown = self.run("ip", "-brief", "link", "show")
        there = {line.split()[0].partition("@")[0] for line in shown.splitlines()}
        self.ip(*(f"link delete {link}" for link in links if link in there))
