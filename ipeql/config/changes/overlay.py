"""Applies changes to the bundles of the files. Pure.

A change that does not fit, because its bundle or slave is not there or because the bundle would
break the rules, is without effect and says why. It is kept, and has effect again when it fits.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ipeql.config.changes.change import added, in_words, subject, without
from ipeql.config.changes.naming import entry_called, no_such_slave
from ipeql.config.rules.bundle import check
from ipeql.config.schema.convert import METHOD_KEYS, parameters, read, slave_spec
from ipeql.config.schema.model import Change, Settings, Slave
from ipeql.errors import (
    Code,
    ConfigError,
    IpeqlError,
    Mark,
    NotFoundError,
    Problem,
    no_such_bundle,
)
from ipeql.methods import MAX_SLAVES, METHODS
from ipeql.state import TRANSIENT, BundleSpec, Changed, DesiredState, LinkMatch, SlaveSpec

Bundles = Mapping[str, BundleSpec]
Identity = tuple[str, LinkMatch | None]
Owners = dict[Identity, str]
"""By what an entry names: the bundle that has it."""


@dataclass(frozen=True, slots=True)
class Located:
    """A change and where it stands; ``mark`` None: in no file, it is transient."""

    change: Change
    mark: Mark | None = None

    @property
    def location(self) -> str:
        """Return ``FILE:LINE``, or ``transient``."""
        return f"{self.mark.file}:{self.mark.line}" if self.mark else TRANSIENT


def overlay(desired: DesiredState, changes: Iterable[Located]) -> DesiredState:
    """Return ``desired`` with all changes that fit, in order; why others do not, as problems.

    One that fits only because of a later one, such as a method that needs the lag of every slave
    before the lags are set, has effect after that one.
    """
    bundles = dict(desired.bundles)
    owners = _owners(bundles)
    waiting = list(changes)
    while True:
        unfit: list[tuple[Located, IpeqlError]] = []
        for located in waiting:
            try:
                spec = changed(bundles, located, owners)
            except IpeqlError as error:
                unfit.append((located, error))
            else:
                for slave in bundles[spec.name].slaves:
                    owners.pop(_identity(slave), None)
                owners |= _owners({spec.name: spec})
                bundles[spec.name] = spec
        if len(unfit) in (0, len(waiting)):
            problems = (_without_effect(located, error, bundles) for located, error in unfit)
            return replace(desired, bundles=bundles, problems=(*desired.problems, *problems))
        waiting = [located for located, _ in unfit]


def revised(files: DesiredState, changes: Sequence[Change], new: Change) -> tuple[Change, ...]:
    """Return ``changes``, which lie over ``files``, with ``new``; IpeqlError: it does not fit.

    What only undoes an earlier change of the list is no change of its own. Neither is what is so
    already.
    """
    bundles = overlay(files, map(Located, changes)).bundles
    spec = changed(bundles, Located(new))
    if spec == bundles[spec.name]:
        return tuple(changes)
    label = subject(new)[1]
    listed = any(slave.label == label for slave in files.bundles[spec.name].slaves)
    undone = new.free is not None and not listed
    return without(changes, new) if undone else added(changes, new)


def changed(bundles: Bundles, located: Located, owners: Owners | None = None) -> BundleSpec:
    """Return the bundle that one change concerns, with the change.

    NotFoundError: no such bundle or slave. ConfigError: the rules that files obey.
    """
    change = located.change
    spec = bundles.get(change.bundle)
    if spec is None:
        raise NotFoundError(no_such_bundle(change.bundle, bundles))
    if change.enslave:
        slave = slave_spec(change.enslave, located.mark)
        _check_link(bundles, _owners(bundles) if owners is None else owners, spec, slave)
        spec = _enslaved(spec, slave, located.location)
    elif change.free is not None:
        spec = _freed(spec, change.free, located.location)
    elif change.set_slave:
        spec = _slave_set(spec, change.set_slave, located.location)
    elif change.set:
        spec = _set(spec, change.set, located.location)
    problems = [
        Problem(fault.code, f"{_subject(spec, fault.path)}: {fault.message}", fault.advice)
        for fault in check(spec)
    ]
    if problems:
        raise ConfigError(problems)
    return spec


def _enslaved(spec: BundleSpec, slave: SlaveSpec, location: str) -> BundleSpec:
    slave = replace(slave, changed=(("slave", location),))
    slaves = [slave if _same(slave, other) else other for other in spec.slaves]
    if slave not in slaves:
        slaves.append(slave)
    if len(slaves) > MAX_SLAVES:
        message = f"{spec.name}: a bundle has at most {MAX_SLAVES} slaves"
        raise ConfigError(Problem(Code.BAD_VALUE, message, "free another one first"))
    freed = tuple((label, at) for label, at in spec.freed if label != slave.label)
    return replace(spec, slaves=tuple(slaves), freed=freed)


def _check_link(bundles: Bundles, owners: Owners, spec: BundleSpec, slave: SlaveSpec) -> None:
    """Check a new slave by the rules that ``between`` has for files."""
    if slave.match is None and slave.name in bundles:
        message = f"{spec.name}: {slave.name} is a bundle"
        advice = "a bundle cannot be a slave; name its links"
        raise ConfigError(Problem(Code.SLAVE_IS_BUNDLE, message, advice))
    owner = owners.get(_identity(slave), spec.name)
    if owner != spec.name:
        message = f"{spec.name}: {slave.label} is a slave of {owner} already"
        advice = f"free it there first: ipeql free {owner} {slave.label}"
        raise ConfigError(Problem(Code.SLAVE_IN_TWO, message, advice))


def _owners(bundles: Bundles) -> Owners:
    return {_identity(slave): name for name, spec in bundles.items() for slave in spec.slaves}


def _freed(spec: BundleSpec, label: str, location: str) -> BundleSpec:
    gone = entry_called(spec, label)
    slaves = tuple(slave for slave in spec.slaves if slave is not gone)
    freed = dict(spec.freed) | {gone.label: location}
    return replace(spec, slaves=slaves, freed=tuple(sorted(freed.items())))


def _slave_set(spec: BundleSpec, settings: Slave, location: str) -> BundleSpec:
    new = slave_spec(settings)
    old = next((slave for slave in spec.slaves if _same(slave, new)), None)
    if old is None:
        raise no_such_slave(spec, new.label)
    index = spec.slaves.index(old)
    keys = settings.model_fields_set - {"name", "match"}
    slave = replace(old, **read(settings, keys), changed=_marked(old.changed, keys, location))
    return replace(spec, slaves=(*spec.slaves[:index], slave, *spec.slaves[index + 1 :]))


def _set(spec: BundleSpec, settings: Settings, location: str) -> BundleSpec:
    """Set keys of a bundle; another method leaves out the parameters that are not for it."""
    keys = settings.model_fields_set
    method = settings.method or spec.method
    kept = spec.parameters
    if method != spec.method:
        kept = tuple(item for item in kept if item[0] in METHODS[method].parameters)
    return replace(
        spec,
        parameters=tuple(sorted((dict(kept) | dict(parameters(settings))).items())),
        changed=_marked(spec.changed, keys, location),
        **read(settings, keys - METHOD_KEYS),
    )


def _same(one: SlaveSpec, other: SlaveSpec) -> bool:
    return _identity(one) == _identity(other)


def _identity(slave: SlaveSpec) -> Identity:
    return slave.name, slave.match


def _marked(changed: Changed, keys: Iterable[str], location: str) -> Changed:
    marks = dict(changed) | {key.replace("_", "-"): location for key in keys}
    return tuple(sorted(marks.items()))


def _subject(spec: BundleSpec, path: Sequence[str | int]) -> str:
    match path:
        case ("slaves", int(index), *_):
            return f"{spec.name}/{spec.slaves[index].label}"
    return spec.name


def _without_effect(located: Located, error: IpeqlError, bundles: Bundles) -> Problem:
    name, cause = located.change.bundle, error.problems[0]
    advice = f"ipeql revert {name} removes it" if located.mark is None else "correct or remove it"
    return Problem(
        Code.WITHOUT_EFFECT,
        f"{name}: `{in_words(located.change)}` is without effect: {cause.message}",
        "; ".join(filter(None, (cause.help, advice))),
        located.mark,
        name if name in bundles else "",
    )
