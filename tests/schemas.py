"""Documents that programs read, held against their JSON Schemas."""

from typing import Any

from jsonschema import Draft202012Validator

from ipeql.documents.schemas import schema


def check(document: str, shown: object) -> None:
    """Fail where what is shown is not as its schema says, or has a key that it does not tell of."""
    Draft202012Validator(_closed(schema(document)), format_checker=None).validate(shown)


def _closed(part: Any) -> Any:
    if isinstance(part, list):
        return [_closed(each) for each in part]
    if not isinstance(part, dict):
        return part
    closed = {key: _closed(value) for key, value in part.items()}
    if "required" in part and "additionalProperties" not in part:
        closed["additionalProperties"] = False
    return closed
