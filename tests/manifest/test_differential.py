"""The API server and the models come to one verdict, over generated manifests and generated changes of them.

``TUNINGJOB_EXAMPLES`` is how many of each; by default 50.
"""

import os
import re
from typing import Final

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.manifest.broken import edited, mixed, sent
from tests.manifest.conftest import JOBS
from tests.manifest.generated import specs
from tests.manifest.manifests import Body, manifest
from tests.operator.world import make_settings
from tests.servers.apiserver import ApiServer, Refused
from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest import load
from tuningjob.manifest.live import MUTABLE_FIELDS, frozen_changes
from tuningjob.manifest.models import TuningJobSpec
from tuningjob_operator.decide.admission import admission_of
from tuningjob_operator.decide.job import build_job

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

# What the models refuse and the API server cannot: values without a type in the schema. There is nothing the other way round.
UNTYPED: Final = re.compile(
    r"spec\.(scoring|refit|search\.(grid|random)\.parameters|(estimator|data|crossValidation\.splitter)\.params[.]|"
    r"estimator\.(remainder|(pipeline|columns|union)\[\d+\]\.(params[.]|pipeline|columns|union|remainder))|"
    r"data\.(target|features|sampleWeight)|crossValidation\.(groups|predefined)).*",
    re.DOTALL,
)
# Of several fields without a type the object that has them is named.
_NOT_NAMED: Final = (
    ".params",
    ".random.parameters",
    "spec.data",
    ".target",
    ".features",
    "spec.scoring",
    "spec.estimator",
    ".remainder",
)
_MUTABLE: Final = [str(TuningJobSpec.model_fields[name].alias) for name in MUTABLE_FIELDS]
often = settings(
    max_examples=int(os.environ.get("TUNINGJOB_EXAMPLES", "50")),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    print_blob=True,
)


def told_by_server(server: ApiServer, body: Body, *, path: str = JOBS, method: str = "POST") -> str | Body:
    """Why it refuses, or what it would store."""
    try:
        return server.call(method, f"{path}?dryRun=All&fieldValidation=Strict", body)
    except Refused as refused:
        if refused.status not in {400, 422}:
            raise
        return str(refused)


def told_here(body: Body) -> tuple[Problem, ...]:
    """What the models have to say against it."""
    try:
        load(body)
    except ManifestRefused as refused:
        return refused.problems
    return ()


@often
@given(
    spec=specs.flatmap(edited),
    name=st.sampled_from(["a", "a-b", "A", "a.b", "x" * 52, "x" * 53, "-a", "a\n"]) | st.just("sample"),
)
def test_the_api_server_takes_what_the_models_take(server: ApiServer, spec: Body, name: str) -> None:
    body = manifest(spec, name)
    problems = told_here(body)
    told = told_by_server(server, sent(body))
    event(f"server {'refuses' if isinstance(told, str) else 'takes it'}, models {'refuse' if problems else 'take it'}")

    if isinstance(told, str):
        assert problems, f"refused by the server alone: {told}"
    elif not all(UNTYPED.fullmatch(problem.field) for problem in problems):
        raise AssertionError(f"refused by the models alone: {[str(problem) for problem in problems]}")
    elif not problems:
        # and it comes back meaning the same
        assert load(told).spec == load(body).spec


@often
@given(spec=specs)
def test_a_valid_manifest_is_taken_by_both_and_so_is_its_job(server: ApiServer, spec: Body) -> None:
    body = manifest(spec)
    assert told_here(body) == ()
    assert isinstance(told_by_server(server, body), dict)

    body["metadata"] |= {"namespace": "default", "uid": "11111111-2222-3333-4444-555555555555"}
    job = build_job(body, admission_of(load(body).spec), make_settings())
    told = told_by_server(server, job, path="/apis/batch/v1/namespaces/default/jobs")
    assert isinstance(told, dict), told


@often
@given(data=st.data())
def test_the_api_server_holds_still_what_the_models_say_must_not_change(server: ApiServer, data: st.DataObject) -> None:
    before = data.draw(specs)
    after = data.draw(st.one_of(mixed(before), mixed(before), edited(before)))
    stored = server.create_object(JOBS, sent(manifest(before, "changing")))
    try:
        changed = {**stored, "spec": sent(after)}
        told = told_by_server(server, changed, path=f"{JOBS}/changing", method="PUT")
        if told_here(manifest(after)):
            return
        frozen = set(frozen_changes(load(manifest(before)).spec, load(manifest(after)).spec))
        found = frozen_by(told)
        event(f"{min(len(frozen), 3)} frozen fields changed")
        # scoring has no type: where a field that may change did so, too, the operator alone tells (SpecAccepted=False)
        told_by_operator = {"spec.scoring"} if any(before.get(name) != after.get(name) for name in _MUTABLE) else set()
        assert bool(found) == bool(frozen) or frozen == told_by_operator, told
        differing = frozen ^ found
        # the number of folds that nobody wrote is the server's default: a splitter beside it hides from one of the two that it gave way
        if not any("folds" in spec.get("crossValidation", {}) for spec in (before, after)):
            differing.discard("spec.crossValidation.folds")
        # where another field of the object changed, too, the untyped one beside it is not named
        assert {field for field in differing if not field.endswith(_NOT_NAMED)} == set(), told
    finally:
        server.call("DELETE", f"{JOBS}/changing")


def frozen_by(told: str | Body) -> set[str]:
    """The fields that a refusal names."""
    return set() if isinstance(told, dict) else set(re.findall(r'"field":"([^"]+)"', told))
