"""An emulated kernel whose clock is the number of instructions it has run."""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

KERNELS = Path("/boot")
TIMEOUT_S = 7200


def kernel() -> Path:
    """Return Debian's kernel that is installed; LookupError where there is none."""
    found = sorted(KERNELS.glob("vmlinuz-*-amd64"))
    if not found:
        raise LookupError("no kernel to emulate; install linux-image-amd64")
    return found[-1]


def run(command: Sequence[str], writable: Path) -> int:
    """Run ``command`` as root in a kernel of its own and return how the emulator ended.

    The guest sees this machine's files; it can change those in ``writable`` alone. Its one CPU
    runs one instruction a nanosecond and skips idle time.
    """
    emulator = (
        "vng", "--run", str(kernel()), "--disable-kvm", "--force-9p", "--cpus", "1",
        "--memory", "1G", "--user", "root", "--rwdir", str(writable),
        "--qemu-opts=-icount shift=0,sleep=off", "--exec", shlex.join(command),
    )  # fmt: skip
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    # vng wants a terminal.
    return subprocess.run(
        ("script", "-qec", shlex.join(emulator), "/dev/null"),
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        timeout=TIMEOUT_S,
        check=False,
    ).returncode
