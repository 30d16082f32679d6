"""The JSON Schema of a configuration file, for editors."""

from typing import Any

from ipeql.config.schema.model import File


def json_schema() -> dict[str, Any]:
    """Return the schema of one file: JSON Schema 2020-12, from the model.

    It knows keys, types and ranges; what several keys must satisfy together only the loader knows.
    """
    heading: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "IPEQL configuration",
    }
    schema: dict[str, Any] = _trimmed(File.model_json_schema())
    return heading | schema


def _trimmed(schema: Any) -> Any:
    """Drop pydantic's titles, which repeat the keys, and every null: no key can be null."""
    if isinstance(schema, list):
        return [_trimmed(part) for part in schema if part != {"type": "null"}]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _trimmed(part)
        for key, part in schema.items()
        if not (key == "title" and isinstance(part, str)) and (key, part) != ("default", None)
    }
