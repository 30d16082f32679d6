"""Strict YAML: plain data, with the position of every key and value.

Narrower than YAML on purpose: one document, no anchors, aliases or tags, no key twice, and no word
that readers of YAML 1.1 and YAML 1.2 understand differently. Only ``true`` and ``false`` are
booleans, only decimal numbers are integers, everything else is text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from ipeql.config.yaml.syntax import describe
from ipeql.config.yaml.wording import printable, shorten
from ipeql.errors import Code, Mark, Problem

KeyPath = tuple[str | int, ...]
"""The address of a value: the keys and list indices that lead to it from the top."""

Span = tuple[int, int, int]
"""Line and column, from 0, and width in characters."""

MAX_DEPTH = 16
"""Levels of nesting; the schema has six."""

MAX_SHOWN = 160
"""Characters of a line that a problem shows."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_UNPRINTABLE = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""YAML 1.2, 5.1: what is not c-printable."""

_NULL = re.compile(r"|~|null|Null|NULL")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_SURPRISES = (  # what YAML 1.1 resolves (yaml.org/type) and YAML 1.2 does not, or otherwise
    (
        re.compile(r"(?i:yes|no|on|off|y|n)|True|TRUE|False|FALSE"),
        "means true or false to some readers of YAML and is a word to others",
    ),
    (re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"), "is a base 60 number in YAML"),
    (re.compile(r"[-+]?0[0-7_]+"), "is an octal number in YAML"),
    (
        re.compile(r"[-+]?0(x[0-9a-fA-F_]+|o[0-7]+|b[01_]+)|\+[0-9]+|-?[0-9]+_[0-9_]*"),
        "is a number to some readers of YAML and a word to others",
    ),
    (re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?"), "is a date in YAML"),
)


@dataclass(frozen=True, slots=True)
class Surprise:
    """An unquoted word that YAML reads otherwise than people; ``meaning``: how YAML reads it."""

    text: str
    meaning: str


class YamlFile:
    """One file as plain data (``data``), with its problems so far and the place of every value.

    ``data`` is made of dict, list, str, int, bool, None and Surprise; None for an empty file.
    """

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.data: object = None
        self.problems: list[Problem] = []
        self._lines = text.splitlines()
        self._keys: dict[KeyPath, Span] = {}
        self._values: dict[KeyPath, Span] = {}
        self._faulty: set[KeyPath] = set()
        self._anchors: set[str] = set()
        if unprintable := _UNPRINTABLE.search(text):
            lines = text[: unprintable.start()].splitlines() or [""]
            message = f"control character U+{ord(unprintable[0]):04X}"
            self._report((len(lines) - 1, len(lines[-1]), 1), message, "is this a text file?")
            return
        try:
            self._read(yaml.parse(text, Loader=_LOADER))
        except _TooDeepError:
            pass
        except yaml.YAMLError as error:
            message, advice, line, column = describe(error, self._lines)
            self.data = None
            self._report((line, column, 1), message, advice)

    def mark(self, path: KeyPath, *, key: bool = False) -> Mark:
        """Return the place of the value at ``path`` or, with ``key``, of the key it belongs to.

        A value that is absent is marked at the key or list entry that it is absent from.
        """
        places = (self._keys, self._values) if key else (self._values, self._keys)
        for place in places:
            if path in place:
                return self._mark(place[path])
        return self.mark(path[:-1], key=True) if path else Mark(self.file, 1, 1)

    def report(
        self, path: KeyPath, code: Code, message: str, advice: str = "", *, key: bool = False
    ) -> None:
        """Add a problem at ``path``; ``key``: it is the key that is wrong, not the value."""
        self._blame(path)
        self.problems.append(Problem(code, message, advice, self.mark(path, key=key)))

    def faulty(self, path: KeyPath) -> bool:
        """Say whether something at or below ``path`` is wrong: other faults may follow."""
        return path in self._faulty

    def _blame(self, path: KeyPath) -> None:
        self._faulty.update(path[:end] for end in range(len(path) + 1))

    def _report(
        self, span: Span, message: str, advice: str = "", code: Code = Code.NOT_YAML
    ) -> None:
        self.problems.append(Problem(code, message, advice, self._mark(span)))

    def _mark(self, span: Span) -> Mark:
        line, column, width = span
        text = self._lines[line] if line < len(self._lines) else ""
        text = printable(text[:MAX_SHOWN].replace("\t", " ")) if column < MAX_SHOWN else ""
        width = max(1, min(width, len(text) - column))
        return Mark(self.file, line + 1, column + 1, text, width)

    def _read(self, events: Iterator[Any]) -> None:
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    message = "a second document begins here"
                    self._report(_span(event), message, "put it into a file of its own")
                    return
                self.data = self._node(next(events), events, ())

    def _node(self, event: Any, events: Iterator[Any], path: KeyPath) -> object:
        if len(path) > MAX_DEPTH:
            self._report(_span(event), f"nested deeper than {MAX_DEPTH} levels")
            raise _TooDeepError
        self._values[path] = _span(event)
        if isinstance(event, yaml.AliasEvent):
            self._blame(path)
            if event.anchor not in self._anchors:
                advice = "write the value itself; text that begins with * has to be quoted"
                self._refuse(path, f"an alias, *{shorten(str(event.anchor))}", advice)
            return None
        if event.anchor is not None:
            self._anchors.add(event.anchor)
            advice = "write values out; text that begins with & has to be quoted"
            self._refuse(path, f"an anchor, &{shorten(event.anchor)}", advice)
        elif event.tag is not None:
            advice = "remove it; text that begins with ! has to be quoted"
            self._refuse(path, f"a tag, {shorten(event.tag)}", advice)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(events, path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(events, path)
        value = resolve(event.value) if not event.style else event.value
        if not event.value and not event.style:
            del self._values[path]  # nothing is written: the key is the place
        return value

    def _mapping(self, events: Iterator[Any], path: KeyPath) -> dict[str, object]:
        mapping: dict[str, object] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            span = _span(event)
            if not isinstance(event, yaml.ScalarEvent):
                self._node(event, events, (*path, "?"))
                self._node(next(events), events, (*path, "?"))
                advice = "write KEY: VALUE; text that begins with *, &, [ or { has to be quoted"
                self._report(span, "the key is not a word", advice)
                continue
            key = event.value
            if not event.style and not isinstance(word := resolve(key), str):
                meaning = word.meaning if isinstance(word, Surprise) else "is not text in YAML"
                message = f"`{shorten(key)}` {meaning}"
                self._report(span, message, f'quote it: "{shorten(key)}"', Code.YAML_SURPRISE)
                self._blame((*path, key))
            if key in mapping:
                first = self._keys[*path, key]
                message = f"`{shorten(key)}` is given twice"
                advice = f"the first is in line {first[0] + 1}; keep one of them"
                self._report(span, message, advice, Code.DUPLICATE_KEY)
                self._node(next(events), events, (*path, "?"))
                continue
            self._keys[*path, key] = span
            mapping[key] = self._node(next(events), events, (*path, key))
        return mapping

    def _sequence(self, events: Iterator[Any], path: KeyPath) -> list[object]:
        sequence: list[object] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            sequence.append(self._node(event, events, (*path, len(sequence))))
        return sequence

    def _refuse(self, path: KeyPath, what: str, advice: str) -> None:
        self._report(self._values[path], f"{what}: not used in this file", advice)
        self._blame(path)


class _TooDeepError(Exception):
    """The rest of the file is not read."""


def _span(event: Any) -> Span:
    start, end = event.start_mark, event.end_mark
    width = end.column - start.column if start.line == end.line else 1
    if isinstance(event, yaml.CollectionStartEvent):
        width = 1
    return start.line, start.column, width


def resolve(text: str) -> object:
    """Return what an unquoted word means: text, a whole number, a boolean, None or a Surprise."""
    if text in ("true", "false"):
        return text == "true"
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NULL.fullmatch(text):
        return None
    for pattern, meaning in _SURPRISES:
        if pattern.fullmatch(text):
            return Surprise(text, meaning)
    return text
