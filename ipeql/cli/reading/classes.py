"""The classes of a bundle in words."""

from collections.abc import Iterable, Mapping
from typing import Any


def in_words(classes: Iterable[Mapping[str, Any]]) -> str:
    """Return the classes of a status document, such as ``ef cs5 duplicate; af41 bw_lag_val``."""
    return "; ".join(" ".join((*each["dscp"], each["method"])) for each in classes)
