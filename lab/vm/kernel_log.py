"""What a kernel says of itself: the warnings of its log, the text of its console."""

import re

WARNING = 4
"""KERN_WARNING; less is worse. Source: include/linux/kern_levels.h."""

_RAW = re.compile(r"<(\d+)>\[ *[\d.]+\] (.*)")
_TERMINAL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>c]|[\x00-\x08\x0b-\x1f]")
_EXPECTED = re.compile(
    r"loading out-of-tree module taints kernel"
    r"|module verification failed: signature and/or required key missing"
    r"|hrtimer: interrupt took \d+ ns"
    r"|clocksource: Long readout interval"
)
"""What every module of our own brings about, and a processor emulated on a busy machine."""


def is_warning(priority: int, text: str) -> bool:
    """Say whether a record of the log is the kernel's own, at least a warning, and unexpected.

    ``priority`` is facility times 8 plus level; programs that write to the log are not facility 0.
    """
    return priority <= WARNING and not _EXPECTED.search(text)


def warnings(log: str) -> tuple[str, ...]:
    """Return the texts of the warnings in what ``dmesg --raw`` printed."""
    records = (_RAW.fullmatch(line) for line in log.splitlines())
    found = ((int(record[1]), record[2]) for record in records if record)
    return tuple(text for priority, text in found if is_warning(priority, text))


def plain(console: str) -> str:
    """Return the text of a serial console without what is meant for its terminal."""
    return _TERMINAL.sub("", console)
