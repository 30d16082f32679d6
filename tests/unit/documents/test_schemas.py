"""The JSON Schemas of documents that programs read."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from ipeql.documents.schemas import DOCUMENTS, schema
from tests.schemas import check

STATUS = json.loads(
    (Path(__file__).parents[2] / "golden" / "cli" / "status.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_schema_is_one(document: str) -> None:
    Draft202012Validator.check_schema(schema(document))


def test_the_status_is_as_its_schema_says() -> None:
    check("status", STATUS)


@pytest.mark.parametrize("key", schema("status")["$defs"]["slave"]["required"])
def test_a_key_that_is_missing_is_found(key: str) -> None:
    slave = {
        name: value for name, value in STATUS["bundles"][0]["slaves"][0].items() if name != key
    }
    bundle = STATUS["bundles"][0] | {"slaves": [slave]}
    with pytest.raises(ValidationError, match=key):
        check("status", STATUS | {"bundles": [bundle]})


def test_who_reads_may_meet_keys_and_words_of_later_versions() -> None:
    later = STATUS | {"news": 1, "bundles": [STATUS["bundles"][0] | {"state": "resting"}]}
    Draft202012Validator(schema("status")).validate(later)
