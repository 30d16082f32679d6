"""The changes to make, as data: pure decisions from the desired and the observed state."""

from ipeql.plan.actions import (
    Action,
    AddAddress,
    AddRoute,
    ConfigureBundle,
    CreateBundle,
    DestroyBundle,
    PrepareSlave,
    Receive,
    ReleaseSlave,
    RemoveAddress,
    RemoveRoute,
    RenameDevice,
    ReplaceRoute,
    RestoreFilter,
    SetCarrier,
    SetFilter,
    SetMtu,
    SetTrainLimit,
    SetUp,
)
from ipeql.plan.backend import Choice, choose_backend
from ipeql.plan.diff import Plan, plan
from ipeql.plan.members import Member, members
from ipeql.plan.undo import undo

__all__ = [
    "Action",
    "AddAddress",
    "AddRoute",
    "Choice",
    "ConfigureBundle",
    "CreateBundle",
    "DestroyBundle",
    "Member",
    "Plan",
    "PrepareSlave",
    "Receive",
    "ReleaseSlave",
    "RemoveAddress",
    "RemoveRoute",
    "RenameDevice",
    "ReplaceRoute",
    "RestoreFilter",
    "SetCarrier",
    "SetFilter",
    "SetMtu",
    "SetTrainLimit",
    "SetUp",
    "choose_backend",
    "members",
    "plan",
    "undo",
]
