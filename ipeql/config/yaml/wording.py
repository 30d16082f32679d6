"""How problems quote and suggest words."""

from collections.abc import Iterable
from difflib import get_close_matches

MAX_QUOTED = 40
"""Characters of a word that a message repeats."""


def printable(text: str) -> str:
    """Return ``text`` with every character that a terminal could act on replaced."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def shorten(text: str) -> str:
    """Return ``text`` as a message can show it: one line, printable, not too long."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= MAX_QUOTED else line[: MAX_QUOTED - 1] + "…"


def shown(value: object) -> str:
    """Return how to name a value that is not the one expected."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case int():
            return f"the number {value}"
        case str():
            return f"`{shorten(value)}`" if value else "an empty word"
        case list():
            return "a list"
        case _:
            return "a mapping"


def nearest(word: str, options: Iterable[str]) -> str:
    """Return the option most similar to ``word``, or an empty string."""
    if len(word) > MAX_QUOTED:
        return ""
    folded = {option.lower().replace("_", "-"): option for option in options}
    close = get_close_matches(word.lower().replace("_", "-"), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else ""
