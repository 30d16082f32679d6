"""The YAML library's errors, in words for the author of the file."""

import re
from collections.abc import Sequence

import yaml

_ENDPOINT = re.compile(r"(?<![\"'])\[[0-9a-fA-F:.]+\]:[0-9]+")
"""An IPv6 address and a port without quotes."""

_NO_COLON = ("a key without `: `", "write KEY: VALUE, with a space after the colon")


def describe(error: yaml.YAMLError, lines: Sequence[str]) -> tuple[str, str, int, int]:
    """Return the mistake, its remedy, and the line and column (from 0) where it is.

    The C and the Python parser of PyYAML have different texts; both are handled.
    """
    problem = str(getattr(error, "problem", None) or error)
    context = str(getattr(error, "context", None) or "")
    line, column = _place(getattr(error, "problem_mark", None), (0, 0))
    opened = _place(getattr(error, "context_mark", None), (line, column))
    character = _character(lines, line, column)
    if character == "\t":
        return "a tab in the indentation", "indent by spaces", line, column
    if endpoint := _ENDPOINT.search(lines[line] if line < len(lines) else ""):
        message = f"`{endpoint[0]}` is a list and more to YAML"
        return message, f'quote it: "{endpoint[0]}"', line, endpoint.start()
    if "flow mapping" in context or "flow sequence" in context:
        bracket = _character(lines, *opened)
        closing = {"{": "}", "[": "]"}.get(bracket, "}")
        message = f"`,` or `{closing}` is missing before this"
        advice = f"the `{bracket}` that is open here is in line {opened[0] + 1}"
        return message, advice, line, column
    if "quoted scalar" in context or "quoted scalar" in problem:
        if "end of stream" in problem or "document separator" in problem:
            return "the quote that opens here is not closed", "close it", *opened
        return "unknown escape", "in double quotes, write \\\\ for a backslash", *opened
    if "could not find expected ':'" in problem:
        return *_NO_COLON, *opened
    if "mapping values are not allowed" in problem:
        above = next((n for n in range(line - 1, -1, -1) if lines[n].strip()), line)
        if ":" not in lines[above]:
            column = len(lines[above]) - len(lines[above].lstrip())
            return *_NO_COLON, above, column
        message = "no `: ` belongs here"
        advice = "the line is indented too far, or its text has to be quoted"
        return message, advice, line, column
    if "scanning an alias" in context or "scanning an anchor" in context:
        line, column = opened
        character = _character(lines, line, column)
        return *_quote(character), line, column
    if character in "}]" and character:
        return f"`{character}` closes nothing", "remove it", line, column
    if "cannot start any token" in problem or "node" in context:
        return *_quote(character), line, column
    if "block " in context or "document start" in problem:
        message = "this line does not fit the lines above"
        advice = "keys of one mapping start in the same column, list entries with `- `"
        return message, advice, line, column
    return f"not YAML: {problem}", "", line, column


def _quote(character: str) -> tuple[str, str]:
    message = f"`{character}` cannot begin a word" if character else "a value is missing here"
    return message, f'quote the text: "{character}..."' if character else "write it"


def _place(mark: yaml.Mark | None, default: tuple[int, int]) -> tuple[int, int]:
    return (mark.line, mark.column) if mark else default


def _character(lines: Sequence[str], line: int, column: int) -> str:
    return lines[line][column : column + 1] if line < len(lines) else ""
