"""The CRD's rules on a real API server: for each a manifest that is refused and one that is taken. The models say the same."""

import re
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.manifest.asking import is_refused_here, refusal
from tests.manifest.manifests import (
    MINIMAL,
    SAMPLES,
    SPEC,
    Body,
)
from tests.manifest.rules_of_pods import POD_RULES
from tests.manifest.rules_of_searches import SEARCH_RULES
from tests.servers.apiserver import ApiServer
from tuningjob.manifest.live import CANCELLED, IMMUTABLE

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

RULES: Final = {**SEARCH_RULES, **POD_RULES}


@pytest.mark.parametrize("spec", SAMPLES)
def test_the_samples_are_taken(server: ApiServer, spec: Body) -> None:
    assert refusal(server, spec) == ""
    assert not is_refused_here(spec)


@pytest.mark.parametrize(("bad", "message", "good"), RULES.values(), ids=RULES.keys())
def test_a_rule_refuses_and_takes(server: ApiServer, bad: Body, message: str, good: Body) -> None:
    assert re.search(message, refusal(server, bad)), refusal(server, bad)
    assert refusal(server, good) == ""
    assert (is_refused_here(bad), is_refused_here(good)) == (True, False)


def test_every_rule_has_its_case() -> None:
    rules = {rule["message"] for rule in rules_of(SPEC)} - {IMMUTABLE, CANCELLED}
    tried = [re.compile(message) for _, message, _ in RULES.values()]
    assert {rule for rule in rules if not any(message.search(rule) for message in tried)} == set()


def rules_of(schema: Any) -> Iterator[Body]:
    if isinstance(schema, dict):
        yield from schema.get("x-kubernetes-validations", [])
        schema = list(schema.values())
    if isinstance(schema, list):
        for inner in schema:
            yield from rules_of(inner)


@pytest.mark.parametrize("name", ["Sample", "a.b", "-a", "a-", "a" * 53, "a_b"])
def test_a_name_that_pods_cannot_bear_is_refused(server: ApiServer, name: str) -> None:
    assert re.search(
        "metadata.name must be a DNS label of at most 52|lowercase RFC 1123", refusal(server, MINIMAL, name)
    )
    assert is_refused_here(MINIMAL, name)
    assert refusal(server, MINIMAL, "a" * 52) == ""
