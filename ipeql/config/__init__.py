"""The configuration: strict YAML files in, one DesiredState or all their problems out."""

from ipeql.config.changes import parse_change
from ipeql.config.files import SEARCH_PATH, find_files
from ipeql.config.layers import Layers
from ipeql.config.load import load
from ipeql.config.schema import json_schema

__all__ = ["SEARCH_PATH", "Layers", "find_files", "json_schema", "load", "parse_change"]
