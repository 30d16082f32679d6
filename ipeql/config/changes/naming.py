"""The entry of ``slaves`` that a person means by a word: pure."""

from collections.abc import Iterable

from ipeql.config.schema.model import Change
from ipeql.errors import Code, IpeqlError, NotFoundError, Problem
from ipeql.state import BundleSpec, Link, SlaveSpec


def entry_called(spec: BundleSpec, word: str, links: Iterable[Link] = ()) -> SlaveSpec:
    """Return the entry of a bundle that ``word`` means.

    It is the label of one entry, another name of the link that an entry names, as ``links`` tell,
    or a part of the match of one entry. NotFoundError: no entry; IpeqlError: several.
    """
    same = next((link for link in links if link.is_called(word)), None)
    for fitting in (
        [slave for slave in spec.slaves if slave.label == word],
        [slave for slave in spec.slaves if same and slave.match is None and slave.fits(same)],
        [
            slave
            for slave in spec.slaves
            if (match := slave.match) and word and word in (match.name, match.mac, match.driver)
        ],
    ):
        if len(fitting) > 1:
            raise _ambiguous(spec, word, fitting)
        if fitting:
            return fitting[0]
    raise no_such_slave(spec, word)


def by_label(change: Change, spec: BundleSpec, links: Iterable[Link]) -> Change:
    """Return the change with the slave that it frees or sets called as its entry is.

    Raises as ``entry_called`` does.
    """
    if change.free is not None:
        label = entry_called(spec, change.free, links).label
        return change.model_copy(update={"free": label})
    if change.set_slave and change.set_slave.name:
        entry = entry_called(spec, change.set_slave.name, links)
        if entry.match is None:
            slave = change.set_slave.model_copy(update={"name": entry.name})
            return change.model_copy(update={"set_slave": slave})
    return change


def no_such_slave(spec: BundleSpec, word: str) -> NotFoundError:
    """Return the error that a bundle has no slave called ``word``."""
    there = ", ".join(slave.label for slave in spec.slaves)
    message = f"{spec.name} has no slave {word!r}"
    return NotFoundError(
        Problem(Code.NO_SUCH_SLAVE, message, f"it has {there}" if there else "it has none")
    )


def _ambiguous(spec: BundleSpec, word: str, fitting: list[SlaveSpec]) -> IpeqlError:
    message = f"{word!r} may mean several slaves of {spec.name}"
    candidates = " or ".join(slave.label for slave in fitting)
    return IpeqlError(Problem(Code.AMBIGUOUS_SLAVE, message, f"say {candidates}"))
