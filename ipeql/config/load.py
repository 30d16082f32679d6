"""From files to the desired state, or to all their mistakes."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from ipeql.config.changes.overlay import Located, overlay
from ipeql.config.rules.between import bundles_in, check_between
from ipeql.config.rules.bundle import check
from ipeql.config.schema.convert import bundle_spec, read
from ipeql.config.schema.explain import explain
from ipeql.config.schema.model import Bundle, File
from ipeql.config.yaml.files import read_text
from ipeql.config.yaml.reader import KeyPath, YamlFile
from ipeql.errors import Code, ConfigError, Problem
from ipeql.names import shown_path
from ipeql.state import BundleSpec, DesiredState, Endpoint

MOST_PROBLEMS = 20
"""More are counted, not shown."""


class _Content(NamedTuple):
    """What is right in one file."""

    bundles: Sequence[BundleSpec] = ()
    changes: Sequence[Located] = ()
    metrics: Endpoint | None = None


class Found(NamedTuple):
    """The content of files: ``desired`` from those without mistakes; the mistakes of the others."""

    desired: DesiredState
    problems: tuple[Problem, ...]


def load(paths: Iterable[Path]) -> DesiredState:
    """Return the bundles that ``paths`` define and change; a file with nothing in it does neither.

    ConfigError carries the problems of every file, in the order of the files and their lines, the
    first MOST_PROBLEMS of them and how many more there are.
    """
    found = examine(paths)
    if found.problems:
        raise ConfigError(found.problems)
    return found.desired


def examine(paths: Iterable[Path]) -> Found:
    """Return what ``load`` returns and what it raises; a file with a mistake is left out."""
    problems: list[Problem] = []
    contents: dict[YamlFile, _Content] = {}
    for path in paths:
        try:
            text = read_text(path)
        except ConfigError as error:
            problems.extend(error.problems)
            continue
        yaml_file = YamlFile(shown_path(path), text)
        contents[yaml_file] = _content(yaml_file)
    check_between(list(contents))
    bundles: dict[str, BundleSpec] = {}
    changes: list[Located] = []
    metrics: Endpoint | None = None
    for yaml_file, content in contents.items():
        if yaml_file.problems:
            problems += _in_order(yaml_file)
        else:
            bundles |= {bundle.name: bundle for bundle in content.bundles}
            changes += content.changes
            metrics = content.metrics or metrics
    files = DesiredState(bundles, complete=not problems, metrics=metrics)
    return Found(overlay(files, changes), _first(problems))


def _first(problems: list[Problem]) -> tuple[Problem, ...]:
    more = len(problems) - MOST_PROBLEMS
    if more <= 0:
        return tuple(problems)
    message = f"{more} problems from here on are not shown"
    mark = problems[MOST_PROBLEMS].mark
    rest = Problem(Code.MANY, message, "correct the problems above first", mark)
    return (*problems[:MOST_PROBLEMS], rest)


def _in_order(yaml_file: YamlFile) -> list[Problem]:
    def position(problem: Problem) -> tuple[int, int]:
        return (problem.mark.line, problem.mark.column) if problem.mark else (0, 0)

    return sorted(yaml_file.problems, key=position)


def _content(yaml_file: YamlFile) -> _Content:
    """Return what ``yaml_file`` defines and changes, its problems reported.

    A value with a mistake is left out, so that the rest can still be checked as a whole.
    """
    if yaml_file.data is None:
        return _Content()
    changes: list[Located] = []
    metrics: Endpoint | None = None
    try:
        file = File.model_validate(yaml_file.data)
        bundles: Mapping[str, Bundle] = file.bundles
        for i, change in enumerate(file.changes):
            changes.append(Located(change, yaml_file.mark(("changes", i))))
        if file.metrics:
            mark = yaml_file.mark(("metrics", "listen"))
            metrics = replace(read(file.metrics)["listen"], mark=mark)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        for found in explain(errors):
            if not yaml_file.faulty(found.path):
                yaml_file.report(found.path, found.code, found.message, found.advice, key=found.key)
        bundles = _usable(yaml_file.data, [error["loc"] for error in errors])
    specs = [bundle_spec(yaml_file, ("bundles", name), bundles[name]) for name in bundles]
    for spec in specs:
        for fault in check(spec):
            bundle = ("bundles", spec.name)
            path = (*bundle, *fault.path)
            earlier = (path, *((*bundle, *followed) for followed in fault.follows))
            if not any(map(yaml_file.faulty, earlier)):
                yaml_file.report(path, fault.code, fault.message, fault.advice)
    return _Content(specs, changes, metrics)


def _usable(data: object, wrong: list[KeyPath]) -> dict[str, Bundle]:
    """Return the bundles of ``data`` without what is ``wrong`` in them."""
    by_bundle: dict[str, list[KeyPath]] = defaultdict(list)
    for path in wrong:
        if path[:1] == ("bundles",) and len(path) > 2:
            by_bundle[str(path[1])].append(path[2:])
    usable = {}
    for name, keys in bundles_in(data):
        # Without its method or its slaves a bundle is not checked further.
        with suppress(ValidationError):
            usable[name] = Bundle.model_validate(_without(keys, by_bundle[name]))
    return usable


def _without(keys: dict[str, object], wrong: list[KeyPath]) -> dict[str, object]:
    """Return the keys of a bundle without what is ``wrong``; slaves keep their places."""
    rest = dict(keys)
    slaves = rest.get("slaves")
    if isinstance(slaves, list):
        slaves = rest["slaves"] = [dict(s) if isinstance(s, dict) else {} for s in slaves]
    for path in wrong:
        if path[0] == "slaves" and len(path) > 1 and isinstance(slaves, list):
            slave = slaves[int(path[1])]
            if len(path) == 2 or path[2] in ("name", "match"):
                slave.clear()
                slave["name"] = "unknown"
            else:
                slave.pop(path[2], None)
        else:
            rest.pop(str(path[0]), None)
    return rest
