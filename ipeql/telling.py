"""Reports of what a pass or a reload did, to the journal, to ``ipeql monitor`` and to D-Bus.

Every result is reported once, in this order: the journal, the monitors, the bus.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from ipeql.api.events import Events
from ipeql.documents.transitions import transitions
from ipeql.errors import Problem
from ipeql.reconcile import PassResult
from ipeql.service import journal
from ipeql.service.message_ids import MessageId, of_transition
from ipeql.state import DesiredState

_log = logging.getLogger(__name__)


class Listener(Protocol):
    """A further receiver of the status document and of reloads: the D-Bus service."""

    def update(self, status: dict[str, Any]) -> None:
        """Take over a new status document."""
        ...

    def reloaded(self, generation: int, errors: list[str]) -> None:
        """Take over the end of a reload; ``errors``: why it was refused."""
        ...


class Telling:
    """Reports what happened. ``shown`` is the status document that was reported last.

    ``events`` are what ``Monitor`` subscribes to.
    """

    def __init__(self) -> None:
        self.events = Events()
        self.shown: dict[str, Any] = {}
        self._listeners: list[Listener] = []

    def add(self, listener: Listener) -> None:
        """Report to ``listener`` too from now on."""
        self._listeners.append(listener)

    def loaded(self, desired: DesiredState) -> None:
        """Report that a configuration is in force, and which of its changes are without effect."""
        for problem in desired.problems:
            journal.problem(problem, level=logging.WARNING)
        message = f"generation {desired.generation} read"
        self._configuration(MessageId.CONFIG_LOADED, message, level=logging.INFO)
        self._tell(lambda listener: listener.reloaded(desired.generation, []))

    def refused(self, generation: int, problems: Sequence[Problem]) -> None:
        """Report that a configuration is refused, and that generation ``generation`` stays."""
        for problem in problems:
            journal.problem(problem)
        rendered = [problem.render() for problem in problems]
        first = rendered[0].partition("\n")[0]
        self._publish({"event": "configuration", "message": first})
        self._tell(lambda listener: listener.reloaded(generation, ["\n".join(rendered)]))

    def changed(self, message: str, bundle: str = "") -> None:
        """Report a transient change."""
        self._configuration(MessageId.CONFIG_CHANGED, message, bundle=bundle)

    def backend(self, bundle: str, message: str) -> None:
        """Report that a dataplane changed by itself."""
        journal.event(MessageId.BACKEND_LOST, message, bundle=bundle, level=logging.WARNING)
        self._publish({"event": "backend", "bundle": bundle, "message": message})

    def passed(self, desired: DesiredState, result: PassResult, status: dict[str, Any]) -> None:
        """Report what a pass did and found, and changed states; ``status``: the new document."""
        for action in result.actions:
            text, bundle = str(action), action.bundle
            journal.event(MessageId.APPLIED, text, bundle=bundle, level=logging.INFO)
            self._publish({"event": "applied", "bundle": bundle, "message": text})
        for problem in result.problems:
            journal.problem(problem)
        for transition in transitions(self.shown, status):
            self._transition(desired, transition)
        self.shown = status
        self._tell(lambda listener: listener.update(status))

    def _transition(self, desired: DesiredState, transition: dict[str, Any]) -> None:
        well = transition["new"] in ("ready", "active", "")
        spec = desired.bundles.get(transition["bundle"])
        journal.event(
            of_transition(transition),
            transition["message"],
            bundle=transition["bundle"],
            slave=transition.get("slave", ""),
            method=spec.method if spec else "",
            reason=transition["reason"],
            level=journal.NOTICE if well else logging.WARNING,
        )
        self._publish(transition)

    def _publish(self, event: dict[str, Any]) -> None:
        """Tell the monitors; the event gets the ``time``, UTC."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.events.publish({"time": now.replace("+00:00", "Z")} | event)

    def _tell(self, say: Callable[[Listener], None]) -> None:
        """Call every listener. A fault of one is logged and never stops a pass."""
        for listener in self._listeners:
            try:
                say(listener)
            except Exception:
                _log.exception("a listener failed")

    def _configuration(
        self, kind: MessageId, message: str, *, bundle: str = "", level: int = journal.NOTICE
    ) -> None:
        journal.event(kind, message, bundle=bundle, level=level)
        told = {"event": "configuration", "message": message}
        self._publish(told | {"bundle": bundle} if bundle else told)
