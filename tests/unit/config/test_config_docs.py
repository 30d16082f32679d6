"""docs/configuration.md says what the model says.

``UPDATE_GOLDEN=1 pytest tests/unit/config/test_config_docs.py`` writes its tables anew.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ipeql.config import json_schema, load
from ipeql.config.schema.model import RATE, RECREATES, TIME
from ipeql.errors import Code
from ipeql.methods import METHODS

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "configuration.md"
EXAMPLES = [
    text
    for page in (PAGE, ROOT / "README.md")
    for text in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.S)
]
SCHEMA = json_schema()
TABLES = {"File": SCHEMA, **SCHEMA["$defs"]}


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
        case {"pattern": pattern} if pattern == RATE:
            return "rate"
        case {"pattern": pattern} if pattern == TIME:
            return "time"
        case {"type": "array"}:
            return "list"
        case {"type": "object"} | {"$ref": _}:
            return "mapping"
    return "text"


def key_rows(table: dict[str, Any]) -> Iterator[str]:
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
    if isinstance(item, list):
        return f"[{', '.join(map(yaml_text, item))}]"
    return str(item).lower() if isinstance(item, bool) else str(item)


def method_rows() -> Iterator[str]:
    yield "| method | needs | parameters |"
    yield "| --- | --- | --- |"
    for method in METHODS.values():
        needs = ", ".join(f"`{need}`" for need in sorted(method.needs)) or "nothing"
        names = sorted(name.replace("_", "-") for name in method.parameters)
        yield f"| `{method.name}` | {needs} | {', '.join(f'`{name}`' for name in names)} |"


def code_rows() -> Iterator[str]:
    yield "| code | mistake |"
    yield "| --- | --- |"
    for code in Code:
        if code.value.startswith("IPQ-C"):
            yield f"| {code.value} | {code.name.replace('_', ' ').lower()} |"


def expected(page: str) -> str:
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


def test_tables_are_those_of_the_model() -> None:
    page = PAGE.read_text()
    if os.environ.get("UPDATE_GOLDEN"):
        PAGE.write_text(expected(page))
    assert PAGE.read_text() == expected(page)
    assert set(re.findall(r"<!-- keys: (\w+) -->", page)) == TABLES.keys()


def test_only_the_backend_recreates() -> None:
    recreates = [
        name
        for table in TABLES.values()
        for name, key in table["properties"].items()
        if RECREATES in key
    ]
    assert recreates == ["backend"]


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_load(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    load([path])
