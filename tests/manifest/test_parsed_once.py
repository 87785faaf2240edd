"""A manifest is parsed when it is loaded, and never again, because the models keep the parsed values."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tests.manifest.calls import parses
from tests.operator.world import make_settings, manifest
from tuningjob.cli.command import main
from tuningjob.journal.records import Progress
from tuningjob.manifest import models
from tuningjob.manifest.live import with_live_fields
from tuningjob.manifest.loading import load
from tuningjob.protocol.records import SearchState
from tuningjob_operator.decide.decision import Observed
from tuningjob_operator.decide.plan import plan


@pytest.mark.slow
def test_a_run_parses_its_manifest_once(examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with parses() as counts:
        assert main(["run", str(examples / "breast-cancer-svc.yaml")]) == 0
    assert counts == {"validated": 1, "estimator": 1, "space": 1, "params spec.data.params": 1}


def test_planning_for_a_search_that_runs_parses_nothing() -> None:
    body = manifest("forest")
    body["metadata"] |= {
        "namespace": "team",
        "uid": "forest",
        "generation": 1,
        "creationTimestamp": "2026-03-01T00:00:00Z",
    }
    admitted = load(body).spec
    running = Progress(
        id="forest", namespace="team", name="forest", state=SearchState.RUNNING, revision=3, done=1, failed=0, total=10
    )
    scaled = {**body, "spec": {**body["spec"], "parallelism": 3}}
    with parses() as counts:
        for tuningjob in (body, scaled):
            observed = Observed(tuningjob=tuningjob, progress=running, admitted=admitted, frozen_changes=())
            assert plan(observed, make_settings(), dt.datetime(2026, 3, 1, tzinfo=dt.UTC)).status.grid is not None
    assert counts == {}


def test_what_was_parsed_is_kept_when_a_search_is_scaled() -> None:
    body = manifest("forest")
    admitted = load(body).spec
    live = with_live_fields(admitted, {**body["spec"], "parallelism": 3})
    assert live.parallelism == 3
    assert live.search.space is admitted.search.space
    assert live.estimator.literal is admitted.estimator.literal


def test_models_are_equal_whatever_was_parsed_of_them(iris_forest: dict[str, Any]) -> None:
    loaded = load(iris_forest).spec
    unparsed: BaseModel = models.TuningJobSpec.model_validate(iris_forest["spec"], by_alias=True, by_name=False)
    assert loaded == unparsed
    assert loaded.model_dump() == unparsed.model_dump()
