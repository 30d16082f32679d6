"""The effects: the actions of a plan are done here, and undone."""

from ipeql.apply.applier import Applier
from ipeql.apply.slaves import SavedSlaves

__all__ = ["Applier", "SavedSlaves"]
