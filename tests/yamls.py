"""YAML that helm and this project write, read for tests.

Each document is read once, by libyaml. Helm renders the chart a hundred times for the tests, most of its documents come out the same
each time, and the CRD alone is 150 KB.
"""

import copy
import functools
import re
from typing import Final

import yaml

from tests.servers.apiserver import Manifest

_BETWEEN: Final = re.compile(r"^---$", re.MULTILINE)


def documents(text: str) -> list[Manifest]:
    """All that are there, which are the caller's own."""
    return [found for part in _BETWEEN.split(text) if (found := document(part))]


def document(text: str) -> Manifest:
    """The only one, which is the caller's own; empty if there is none."""
    return copy.deepcopy(_read(text))


@functools.cache
def _read(text: str) -> Manifest:
    found: Manifest = yaml.load(text, Loader=yaml.CSafeLoader) or {}
    return found
