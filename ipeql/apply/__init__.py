"""The effects: what a plan says is done here, or undone."""

from ipeql.apply.applier import Applier
from ipeql.apply.slaves import SavedSlaves

__all__ = ["Applier", "SavedSlaves"]
