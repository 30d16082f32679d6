"""The tables of docs/configuration.md, from the table of keys, the methods and the codes."""

import re
from collections.abc import Iterator
from typing import Any

from ipeql.config import json_schema
from ipeql.config.schema.kinds import RATE_PATTERN, TIME_PATTERN
from ipeql.config.schema.model import RECREATES
from ipeql.errors import Code
from ipeql.methods import METHODS

SCHEMA = json_schema()
TABLES = {"File": SCHEMA, **SCHEMA["$defs"]}
"""The JSON Schema of every mapping in a file, by its name."""


def value(key: dict[str, Any]) -> str:
    """Return what may be written, in a few words."""
    match key:
        case {"const": constant}:
            return f"`{constant}`"
        case {"enum": options}:
            return ", ".join(f"`{option}`" for option in options)
        case {"anyOf": options}:
            return " or ".join(value(option) for option in options)
        case {"type": "integer", "minimum": low, "maximum": high}:
            return f"{low} to {high}"
        case {"type": "boolean"}:
            return "`true`, `false`"
        case {"pattern": pattern} if pattern == RATE_PATTERN:
            return "rate"
        case {"pattern": pattern} if pattern == TIME_PATTERN:
            return "time"
        case {"type": "array"}:
            return "list"
        case {"type": "object"} | {"$ref": _}:
            return "mapping"
    return "text"


def key_rows(table: dict[str, Any]) -> Iterator[str]:
    """Yield the table of the keys of one mapping."""
    yield "| key | value | default | meaning | change |"
    yield "| --- | --- | --- | --- | --- |"
    required = table.get("required", [])
    for name, key in table["properties"].items():
        shown = value(key)
        if "examples" in key:
            shown += f", e.g. `{yaml_text(key['examples'][0])}`"
        default = "required" if name in required else ""
        if "default" in key and key["default"] not in ([], {}):
            default = f"`{yaml_text(key['default'])}`"
        change = "recreate" if RECREATES in key else "live"
        yield f"| `{name}` | {shown} | {default} | {key['description']} | {change} |"


def yaml_text(item: object) -> str:
    """Return a value as a file would have it."""
    if isinstance(item, list):
        return f"[{', '.join(map(yaml_text, item))}]"
    if isinstance(item, dict):
        return f"{{{', '.join(f'{key}: {yaml_text(each)}' for key, each in item.items())}}}"
    if isinstance(item, str) and item.startswith("["):
        return f'"{item}"'
    return str(item).lower() if isinstance(item, bool) else str(item)


def method_rows() -> Iterator[str]:
    """Yield the table of what each method needs and takes."""
    yield "| method | needs | parameters |"
    yield "| --- | --- | --- |"
    for method in METHODS.values():
        needs = ", ".join(f"`{need}`" for need in sorted(method.needs)) or "nothing"
        names = sorted(name.replace("_", "-") for name in method.parameters)
        yield f"| `{method.name}` | {needs} | {', '.join(f'`{name}`' for name in names)} |"


def code_rows() -> Iterator[str]:
    """Yield the table of the codes of mistakes in files."""
    yield "| code | mistake |"
    yield "| --- | --- |"
    for code in Code:
        if code.value.startswith("IPQ-C"):
            yield f"| {code.value} | {code.name.replace('_', ' ').lower()} |"


def expected(page: str) -> str:
    """Return ``page`` with its tables made anew."""

    def table(found: re.Match[str]) -> str:
        what = found[1]
        if what == "methods":
            rows = method_rows()
        elif what == "codes":
            rows = code_rows()
        else:
            rows = key_rows(TABLES[what.removeprefix("keys: ")])
        return "\n".join([f"<!-- {what} -->", *rows, "<!-- end -->"])

    return re.sub(r"<!-- (\w+(?:: \w+)?) -->\n(?:\|.*\n)*<!-- end -->", table, page)
