"""Write the generated parts of docs/ and man/ anew, or with ``--check`` say which are not current.

``python -m scripts.docs [--check]``. With ``--check`` the status is 1 where a page is not current.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from scripts.docs import manual, tables

ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / "docs" / "configuration.md"
MANUAL = ROOT / "man"


def pages() -> Iterator[tuple[Path, str, str]]:
    """Yield every page that has generated parts, what it says and what it should say."""
    text = CONFIGURATION.read_text()
    yield CONFIGURATION, text, tables.expected(text)
    for page in sorted(MANUAL.iterdir()):
        text = page.read_text()
        yield page, text, manual.expected(text)


def main() -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(prog="python -m scripts.docs", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    old = [(page, wanted) for page, text, wanted in pages() if text != wanted]
    for page, wanted in old:
        print(f"{page.relative_to(ROOT)}: {'is not current' if check else 'written'}")
        if not check:
            page.write_text(wanted)
    return int(check and bool(old))


if __name__ == "__main__":
    sys.exit(main())
