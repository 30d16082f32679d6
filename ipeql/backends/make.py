"""Makes every backend; nothing else does."""

from pathlib import Path

from ipeql.backends.base import Backend, OnChange, ignore
from ipeql.backends.bpf.backend import BpfBackend
from ipeql.backends.kmod.backend import KmodBackend
from ipeql.backends.tun.backend import TunBackend


def make(runtime: Path, on_change: OnChange = ignore) -> dict[str, Backend]:
    """Return every backend by name. ``runtime`` is RUNTIME_DIRECTORY."""
    return {
        "bpf": BpfBackend(),
        "kmod": KmodBackend(),
        "tun": TunBackend(runtime, on_change),
    }
