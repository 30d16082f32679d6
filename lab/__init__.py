"""Beside the product: hosts and links for tests and measurements, the demo, an emulated kernel."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
"""The repository. What it has beside the product is found there, and is not installed."""


def module(name: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs a module of the repository, from whatever directory."""
    return ("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", name, *arguments)
