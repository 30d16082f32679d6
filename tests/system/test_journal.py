"""What the journal has of IPEQL, and how it explains it."""

import json
from typing import Any

import pytest

from ipeql.service.message_ids import MessageId
from lab.network.hosts import Lab
from tests.system.conftest import CONFIGURATION
from tests.system.machine import Machine

pytestmark = [pytest.mark.netns, pytest.mark.system, pytest.mark.timeout(600)]


def entries(machine: Machine, *matches: str) -> list[dict[str, Any]]:
    lines = machine.run("journalctl", "--output=json", *matches).splitlines()
    return [json.loads(line) for line in lines]


def test_every_kind_of_message_is_in_the_catalog(machine: Machine) -> None:
    listed = machine.run("journalctl", "--list-catalog")
    assert {kind for kind in MessageId if f"{kind} IPEQL: " not in listed} == set()


def test_every_message_has_a_kind_and_says_where_it_comes_from(machine: Machine) -> None:
    found = entries(machine, "SYSLOG_IDENTIFIER=ipeqld")
    assert found
    for entry in found:
        assert entry["MESSAGE_ID"] in list(MessageId)
        assert entry["CODE_FILE"].endswith(".py")
        assert {"CODE_LINE", "CODE_FUNC", "PRIORITY"} <= entry.keys()


def test_a_slave_that_is_lost_is_found_by_its_bundle(machine: Machine, lab: Lab) -> None:
    lab.set_carrier(lab.a, "eth2", False)
    matches = ("IPEQL_BUNDLE=ipeql0", f"MESSAGE_ID={MessageId.SLAVE_INACTIVE}")
    machine.wait(lambda: bool(entries(machine, *matches)))
    (entry,) = entries(machine, *matches)
    assert entry["IPEQL_SLAVE"] == entry["INTERFACE"] == "eth2"
    assert entry["IPEQL_METHOD"] == "round_robin"
    assert entry["IPEQL_REASON"] == "no signal on the link"
    assert entry["PRIORITY"] == "4"
    explained = machine.run("journalctl", "--catalog", *matches)
    assert "Subject: Bundle ipeql0 does not use eth2" in explained


def test_an_error_in_the_configuration_is_explained_with_its_place(machine: Machine) -> None:
    machine.write("/etc/ipeql/home.yaml", CONFIGURATION.replace("addresses", "adresses"))
    assert machine.try_("ipeql", "reload").returncode == 4
    (entry,) = entries(machine, f"MESSAGE_ID={MessageId.CONFIG_INVALID}")
    assert (entry["CONFIG_FILE"], entry["CONFIG_LINE"]) == ("/etc/ipeql/home.yaml", "5")
    explained = machine.run("journalctl", "--catalog", "CONFIG_FILE=/etc/ipeql/home.yaml")
    assert "The error is in line 5 of /etc/ipeql/home.yaml." in explained


def test_a_pass_that_does_nothing_says_nothing(machine: Machine) -> None:
    before = entries(machine, "SYSLOG_IDENTIFIER=ipeqld")
    machine.run("ipeql", "apply")
    assert entries(machine, "SYSLOG_IDENTIFIER=ipeqld") == before
