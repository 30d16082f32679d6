"""What is compiled before anything is measured."""

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
KERNEL = HERE.parent / "kernel"
MODULE = "kernel/module/ipeql.ko"
TIMEOUT_S = 600


def sender(tools: Path) -> None:
    """Compile ``sender.c``; RuntimeError without a compiler."""
    if not shutil.which("gcc"):
        raise RuntimeError("no C compiler; apt install gcc libc6-dev")
    compiler = ("gcc", "-O2", "-Wall", "-o", tools / "sender", HERE / "scenarios" / "sender.c")
    subprocess.run(compiler, check=True, timeout=TIMEOUT_S)


def module(tools: Path, kernel: Path) -> None:
    """Compile the kernel module for the kernel image ``kernel``, out of its own directory.

    Where that fails, what make says is shown, and the rows of kmod stay empty.
    """
    release = kernel.name.removeprefix("vmlinuz-")
    shutil.copytree(KERNEL, tools / "kernel", dirs_exist_ok=True)
    make = ("make", "--silent", "-C", tools / "kernel" / "module", f"KERNELRELEASE={release}")
    done = subprocess.run(make, check=False, timeout=TIMEOUT_S, capture_output=True, text=True)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
