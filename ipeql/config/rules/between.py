"""The rules across the bundles of all files: each link and each name is used once."""

from collections.abc import Iterator, Sequence

from ipeql.config.yaml.reader import YamlFile
from ipeql.config.yaml.wording import shorten
from ipeql.errors import Code, Mark


def bundles_in(data: object) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield name and keys of the bundles in a file's data, right or wrong."""
    bundles = data.get("bundles") if isinstance(data, dict) else None
    if isinstance(bundles, dict):
        for name, keys in bundles.items():
            yield name, keys if isinstance(keys, dict) else {}


def check_between(files: Sequence[YamlFile]) -> None:
    """Report what two files define, links in two places, and bundles that are slaves."""
    defined: dict[str, Mark] = {}
    enslaved: dict[object, tuple[str, Mark]] = {}
    _check_metrics(files)
    names = {name for file in files for name, _ in bundles_in(file.data)}
    for file in files:
        for bundle, keys in bundles_in(file.data):
            path = ("bundles", bundle)
            mark = file.mark(path, key=True)
            if bundle in defined:
                message = f"the bundle {shorten(bundle)} is defined twice"
                advice = f"the first is in {defined[bundle]}; remove one of them"
                file.report(path, Code.DUPLICATE_BUNDLE, message, advice, key=True)
                continue
            defined[bundle] = mark
            slaves = keys.get("slaves")
            for i, slave in enumerate(slaves if isinstance(slaves, list) else []):
                _check_slave(file, (bundle, i), slave, names, enslaved)


def _check_metrics(files: Sequence[YamlFile]) -> None:
    given = [file for file in files if isinstance(file.data, dict) and "metrics" in file.data]
    for file in given[1:]:
        first = given[0].mark(("metrics",), key=True)
        advice = f"the first is in {first}; metrics are served at one address"
        message = "`metrics` is given twice"
        if not file.faulty(("metrics",)):
            file.report(("metrics",), Code.DUPLICATE_KEY, message, advice, key=True)


def _check_slave(
    file: YamlFile,
    location: tuple[str, int],
    slave: object,
    names: set[str],
    enslaved: dict[object, tuple[str, Mark]],
) -> None:
    bundle, i = location
    entry = ("bundles", bundle, "slaves", i)
    if not isinstance(slave, dict):
        return
    for key in ("name", "match"):
        path = (*entry, key)
        link = slave.get(key)
        if isinstance(link, dict):
            identity: object = frozenset((k, v) for k, v in link.items() if isinstance(v, str))
            shown = "the same match"
        elif isinstance(link, str):
            identity, shown = link, shorten(link)
        else:
            continue
        if file.faulty(path):
            continue
        if link == bundle:
            message = f"{shown} is a slave of itself"
            file.report(path, Code.SLAVE_IS_BUNDLE, message, "name the links that it uses")
        elif isinstance(link, str) and link in names:
            advice = "a bundle cannot be a slave; name its links"
            file.report(path, Code.SLAVE_IS_BUNDLE, f"{shown} is a bundle", advice)
        elif identity in enslaved:
            other, mark = enslaved[identity]
            message = f"{shown} is a slave of {shorten(other)} already"
            advice = f"the first is in {mark}; a link belongs to one bundle"
            file.report(path, Code.SLAVE_IN_TWO, message, advice)
        else:
            enslaved[identity] = bundle, file.mark(path)
