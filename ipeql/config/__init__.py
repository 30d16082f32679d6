"""The configuration: from strict YAML files to one DesiredState, or to all their problems."""

from ipeql.config.changes.change import parse_change
from ipeql.config.changes.layers import Layers, with_remarks
from ipeql.config.load import load
from ipeql.config.schema.json_schema import json_schema
from ipeql.config.yaml.files import SEARCH_PATH, find_files

__all__ = [
    "SEARCH_PATH",
    "Layers",
    "find_files",
    "json_schema",
    "load",
    "parse_change",
    "with_remarks",
]
