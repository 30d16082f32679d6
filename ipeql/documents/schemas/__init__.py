"""The JSON Schemas of the documents that programs read: docs/json.md has what they promise."""

import json
from pathlib import Path
from typing import Any

DOCUMENTS = ("status", "plan", "event")


def schema(document: str) -> dict[str, Any]:
    """Return the schema of one of ``DOCUMENTS``: JSON Schema 2020-12."""
    found: dict[str, Any] = json.loads((Path(__file__).parent / f"{document}.json").read_text())
    return found
