"""Tables of observations, each a sentence, and of the decisions that follow."""

import math
from dataclasses import replace
from typing import Any

import pytest

from tests.operator.world import NOON, make_settings, manifest
from tuningjob.journal.records import Best, Progress
from tuningjob.manifest.loading import load, load_spec
from tuningjob.manifest.status import BaselineStatus, ChoiceStatus
from tuningjob.protocol.records import Answer, Baseline, Choice, Pilot, Preflight, Refusal, SearchState, Spread
from tuningjob_operator import names
from tuningjob_operator.decide import conditions as cs
from tuningjob_operator.decide.admission import admit
from tuningjob_operator.decide.decision import Look, Observed, OpenSearch, Plan
from tuningjob_operator.decide.job import build_job, sized
from tuningjob_operator.decide.owned_objects import ResultFiles
from tuningjob_operator.decide.plan import plan
from tuningjob_operator.decide.status import conditions_of, dump_status
from tuningjob_operator.objects import Body

SETTINGS = make_settings()
FOUND = Preflight(
    data_digest="d",
    samples=150,
    features=4,
    memory_bytes=3_000_000,
    versions={},
    warnings=("seed: random_state is None",),
)
ANSWER = Answer(
    best_index=8,
    best_score=0.9,
    best_std=0.1,
    best_params={},
    metric="score",
    failed_fits=0,
    refit_seconds=0,
    fit_seconds_total=1,
)


def tuningjob(**spec: Any) -> Body:
    body = manifest(**spec)
    body["metadata"] |= {
        "namespace": "default",
        "uid": "uid-1",
        "generation": 1,
        "resourceVersion": "7",
        "creationTimestamp": "2026-01-01T12:00:00Z",
    }
    return body


def job(*, parallelism: int = 1, deaths: int = 0, **status: Any) -> Body:
    body = build_job(tuningjob(), admit(tuningjob(), SETTINGS), SETTINGS)
    body["metadata"]["uid"] = "job-uid"
    body["spec"] |= sized(parallelism, deaths=deaths)
    return {**body, "status": status}


def ended(kind: str, *, began_at: str = "", **condition: str) -> Body:
    body = job(conditions=[{"type": kind, "status": "True", **condition}])
    body["metadata"]["annotations"] = {names.ANNOTATION_BEGAN_AT: began_at}
    return body


def progress(state: SearchState = SearchState.RUNNING, **changes: Any) -> Progress:
    values: dict[str, Any] = {"revision": 1, "done": 0, "failed": 0, "total": 18}
    return Progress(id="uid-1", namespace="default", name="forest", state=state, **(values | changes))


def observe(**changes: Any) -> Observed:
    if "progress" in changes:
        changes["admitted"] = load(manifest()).spec
    return Observed(**({"tuningjob": tuningjob(), "looked": frozenset(Look)} | changes))


def waiting(reason: str) -> Body:
    state = {"waiting": {"reason": reason}}
    status = {"phase": "Pending", "containerStatuses": [{"name": names.CONTAINER, "state": state}]}
    return {"metadata": {"name": "forest-0-abc"}, "spec": {"nodeName": "node-1"}, "status": status}


def unready(seconds: float, reason: str) -> Observed:
    """Three pods that a node has, and none of them is at work."""
    return observe(
        job=job(parallelism=3, active=3, ready=0),
        progress=progress(preflight=FOUND),
        unready_seconds=seconds,
        pods=(waiting(reason),),
    )


def steps_of(planned: Plan) -> list[str]:
    return [type(step).__name__ for step in planned.steps]


def ending_of(planned: Plan) -> str | None:
    conditions = conditions_of(planned.status)
    return next((c.reason for c in conditions if c.type in names.TERMINAL and c.status == "True"), None)


STEPS = {
    "a new one is opened, gets its token, then its Job": (observe(), ["OpenSearch", "CreateToken", "CreateJob"]),
    "an opened one without a Job gets it": (observe(progress=progress()), ["CreateToken", "CreateJob"]),
    "a journal that was lost is opened again beside a Job that runs": (observe(job=job()), ["OpenSearch"]),
    "before the preflight nothing is scaled": (observe(job=job(), progress=progress(done=2)), []),
    "after the preflight the Job is scaled": (observe(job=job(), progress=progress(preflight=FOUND)), ["ScaleJob"]),
    "a Job of its size is left alone": (observe(job=job(parallelism=3), progress=progress(preflight=FOUND)), []),
    "a Job is never made smaller": (observe(job=job(parallelism=3), progress=progress(preflight=FOUND, done=17)), []),
    "a Job is to outlive the deaths that the journal counts": (
        observe(job=job(parallelism=3, failed=2), progress=progress(preflight=FOUND, deaths=2)),
        ["ScaleJob"],
    ),
    "a Job that outlives them is left alone": (
        observe(job=job(parallelism=3, deaths=2, failed=2), progress=progress(preflight=FOUND, deaths=2)),
        [],
    ),
    "with little left to do a single pod goes on": (
        observe(job=job(), progress=progress(preflight=FOUND, done=16)),
        [],
    ),
    "a token that pods may wait for is made again": (unready(60, "ContainerCreating"), ["CreateToken"]),
    "pods that have just come need none": (unready(20, "ContainerCreating"), []),
    "pods that say what they wait for need none": (unready(60, "ImagePullBackOff"), []),
    "a complete one publishes its answer": (
        observe(job=job(), progress=progress(SearchState.COMPLETE, answer=ANSWER), files=ResultFiles({})),
        ["PublishResults"],
    ),
    "a complete one whose Job is gone needs none": (
        observe(progress=progress(SearchState.COMPLETE, answer=ANSWER), files=ResultFiles({})),
        ["PublishResults"],
    ),
    "a failed one gets no Job": (observe(progress=progress(SearchState.FAILED, failure="no")), []),
    "a refused one gets nothing": (observe(tuningjob=tuningjob(parallelism=21)), []),
}


@pytest.mark.parametrize(("observed", "want"), STEPS.values(), ids=STEPS.keys())
def test_the_steps_when(observed: Observed, want: list[str]) -> None:
    assert steps_of(plan(observed, SETTINGS, NOON)) == want


PROBLEM = {"field": "spec.x", "must_be": "y", "got": "z", "advice": ""}
ENDINGS = {
    "a running one has none": (observe(job=job(), progress=progress()), None),
    "the manifest is refused here": (observe(tuningjob=tuningjob(parallelism=21)), "ManifestRefused"),
    "the manifest is refused by a worker": (
        observe(job=job(), progress=progress(SearchState.REFUSED, refusal=Refusal(problems=(PROBLEM,)))),
        "ManifestRefused",
    ),
    "the search failed": (observe(job=job(), progress=progress(SearchState.FAILED, failure="no")), "SearchFailed"),
    "a worker's text begins as the operator's would": (
        observe(job=job(), progress=progress(SearchState.FAILED, failure="PlanReady: all is well")),
        "SearchFailed",
    ),
    "the search is complete": (
        observe(job=job(), progress=progress(SearchState.COMPLETE, answer=ANSWER)),
        "SearchComplete",
    ),
    "the journal's verdict comes before the Job's": (
        observe(job=ended("Failed", reason="PodFailurePolicy"), progress=progress(SearchState.FAILED, failure="no")),
        "SearchFailed",
    ),
    "an answer counts even if the Job gave up": (
        observe(
            job=ended("Failed", reason="BackoffLimitExceeded"), progress=progress(SearchState.COMPLETE, answer=ANSWER)
        ),
        "SearchComplete",
    ),
    "the Job gave up": (
        observe(job=ended("Failed", reason="BackoffLimitExceeded"), progress=progress()),
        "BackoffLimitExceeded",
    ),
    "the Job ended without its fits, and came no further": (
        observe(job=ended("Complete", began_at="3 done, 0 starved at 0"), progress=progress(done=3)),
        "JobEndedEarly",
    ),
    "the Job ended without its fits, but came further": (
        observe(job=ended("Complete", began_at="nothing"), progress=progress(done=3)),
        None,
    ),
}


@pytest.mark.parametrize(("observed", "want"), ENDINGS.values(), ids=ENDINGS.keys())
def test_the_ending_when(observed: Observed, want: str | None) -> None:
    planned = plan(observed, SETTINGS, NOON)

    assert ending_of(planned) == want
    assert planned.status.phase in ({"Complete", "Failed"} if want else {"Pending", "Running"})


@pytest.mark.parametrize(("observed", "_"), ENDINGS.values(), ids=ENDINGS.keys())
def test_a_plan_made_again_over_its_own_status_changes_nothing(observed: Observed, _: object) -> None:
    first = plan(observed, SETTINGS, NOON)
    again = replace(observed, tuningjob={**observed.tuningjob, "status": dump_status(first.status)})

    assert plan(again, SETTINGS, NOON.replace(hour=13)).status == first.status


@pytest.mark.parametrize(("observed", "_"), ENDINGS.values(), ids=ENDINGS.keys())
def test_an_ending_never_flips(observed: Observed, _: object) -> None:
    body = tuningjob()
    done = plan(observe(progress=progress(SearchState.COMPLETE, answer=ANSWER)), SETTINGS, NOON).status
    ended_one = replace(observed, tuningjob={**body, "status": dump_status(done)})
    planned = plan(ended_one, SETTINGS, NOON)

    assert ending_of(planned) == "SearchComplete"
    assert planned.steps == ()


def test_a_dying_one_is_left_alone() -> None:
    body = tuningjob()
    body["metadata"]["deletionTimestamp"] = "2026-01-01T12:00:00Z"

    assert plan(observe(tuningjob=body), SETTINGS, NOON) == Plan(
        status=plan(observe(tuningjob=body), SETTINGS, NOON).status
    )


def test_the_spec_that_runs_is_the_one_that_was_admitted() -> None:
    changed = tuningjob(resources={"cpu": "64", "memory": "1Gi"}, scoring="no such thing")
    planned = plan(observe(tuningjob=changed, progress=progress()), SETTINGS, NOON)
    told = cs.find(conditions_of(planned.status), names.SPEC_ACCEPTED)

    assert planned.status.plan is not None
    assert planned.status.plan.cpu == "2"
    assert ending_of(planned) is None
    assert told is not None
    assert told.message.startswith("spec.scoring, spec.resources.cpu must stay as the search was admitted")


@pytest.mark.parametrize(
    ("spec", "ceiling", "fits"),
    [
        ({}, 100, 20),
        ({"baseline": False}, 100, 18),
        ({"limits": {"maxFits": 19}}, 100, 18),
        ({}, 19, 18),
    ],
)
def test_a_search_begins_with_a_baseline_unless_that_alone_is_too_much(
    spec: dict[str, Any], ceiling: int, fits: int
) -> None:
    body = tuningjob(**{"baseline": None, **spec})
    planned = plan(observe(tuningjob=body), make_settings(max_fits=ceiling), NOON)
    (opening,) = (step for step in planned.steps if isinstance(step, OpenSearch))
    assert (opening.new.candidates * 2, opening.new.spec.get("baseline") or False) == (fits, fits == 20)
    assert planned.status.grid is not None
    assert (planned.status.grid.candidates, planned.status.grid.fits) == (9, fits)
    told = cs.find(conditions_of(planned.status), names.ADMITTED)
    assert told is not None
    is_open = "baseline" not in spec
    assert ("The defaults are not scored beside them" in told.message) == (is_open and fits == 18)


@pytest.mark.parametrize(("begun", "fits"), [({}, 18), ({"baseline": True}, 20)])
def test_whether_a_search_has_a_baseline_is_decided_once(begun: dict[str, Any], fits: int) -> None:
    """The journal has a search of the release before without a word of it; the TuningJob says nothing in both cases."""
    spec = {name: value for name, value in manifest()["spec"].items() if name != "baseline"}
    seen = observe(tuningjob=tuningjob(baseline=None), progress=progress(total=fits))
    planned = plan(replace(seen, admitted=load_spec({**spec, **begun})), SETTINGS, NOON)
    assert planned.status.grid is not None
    assert planned.status.grid.fits == fits
    assert cs.find(conditions_of(planned.status), names.SPEC_ACCEPTED) is None


def test_the_live_best_is_shown_by_its_place_in_the_grid() -> None:
    planned = plan(observe(job=job(), progress=progress(done=4, best=Best(1, 0.5))), SETTINGS, NOON)

    assert planned.status.best is not None
    assert planned.status.best.params == {"max_depth": {"none": True}, "n_estimators": 100}


def test_the_live_best_of_a_random_search_has_no_parameters_until_the_answer_brings_them() -> None:
    """Only pods know what was drawn."""
    drawn: dict[str, Any] = {"search": {"random": {"parameters": {"max_depth": {"randint": [1, 9]}}, "iterations": 20}}}
    seen = replace(
        observe(tuningjob=tuningjob(**drawn), job=job(), progress=progress(done=4, best=Best(1, 0.5))),
        admitted=load(manifest(**drawn)).spec,
    )
    status = dump_status(plan(seen, SETTINGS, NOON).status)
    assert status["best"] == {"index": 1, "score": 0.5}
    assert status["grid"]["candidates"] == 20

    answer = replace(ANSWER, best_params={"max_depth": 7})
    ended = replace(seen, progress=progress(SearchState.COMPLETE, done=18, answer=answer))
    assert dump_status(plan(ended, SETTINGS, NOON).status)["best"]["params"] == {"max_depth": 7}


def test_the_answer_of_several_metrics_brings_all_scores_and_what_was_passed_over() -> None:
    answer = replace(
        ANSWER,
        scores={"f2": 0.9, "auc": math.nan},
        choice=Choice(rule="mostStable 1", passed_over=3, score=0.95, why="it varies"),
        baseline=Baseline(defaults=0.8, gain=0.1, told=("Tuning gained 0.1 over the defaults.\x1b",)),
        warnings=("OverfitGap: of 2",),
    )
    best = plan(observe(progress=progress(SearchState.COMPLETE, answer=answer)), SETTINGS, NOON).status.best
    assert best is not None
    assert (best.score, best.scores, best.warnings) == (0.9, {"f2": 0.9}, ["OverfitGap: of 2"])
    assert best.choice == ChoiceStatus(rule="mostStable 1", passed_over=3, score=0.95, why="it varies")
    told = ["Tuning gained 0.1 over the defaults.\ufffd"]
    assert best.baseline == BaselineStatus(defaults=0.8, gain=0.1, told=told), "what is NaN is left out"
    plain = plan(observe(progress=progress(SearchState.COMPLETE, answer=ANSWER)), SETTINGS, NOON).status.best
    assert plain is not None
    assert (plain.scores, plain.choice, plain.warnings) == (None, None, None)


def test_preflight_warnings_are_in_its_condition() -> None:
    planned = plan(observe(job=job(), progress=progress(preflight=FOUND)), SETTINGS, NOON)
    found = cs.find(conditions_of(planned.status), names.PREFLIGHT)

    assert found is not None
    assert found.message == (
        "150 samples × 4 features. Each pod holds up to 3 MiB of them, besides its libraries and what fits need for themselves."
        "\nseed: random_state is None"
    )


def test_a_large_search_is_warned_of_where_it_is_admitted() -> None:
    body = tuningjob(search={"grid": {"parameters": {"max_depth": {"range": [1, 402]}}}})
    found = cs.find(conditions_of(plan(observe(tuningjob=body), SETTINGS, NOON).status), names.ADMITTED)

    assert found is not None
    assert found.message.startswith("401 candidates × 2 folds = 802 fits. 802 fits are more than 500")


@pytest.mark.parametrize(("told", "is_known"), [("11:50Z", False), ("12:10Z", True)])
def test_an_end_that_was_told_and_has_passed_is_unknown_and_one_to_come_is_looked_at_then(
    told: str, is_known: bool
) -> None:
    pilot = Pilot(
        cell_seconds=Spread(low=60, expected=60, high=60),
        process_bytes=Spread(low=1, expected=1, high=1),
        pod_bytes=1,
        cells=2,
    )
    running = progress(preflight=replace(FOUND, pilot=pilot), done=2, measured=2, cell_seconds=120.0)
    first = plan(observe(job=job(parallelism=3, active=3, ready=3), progress=running), SETTINGS, NOON)
    assert first.status.estimate is not None
    assert first.status.estimate.completes_at is not None
    body = tuningjob()
    body["status"] = dump_status(
        first.status.model_copy(update={"estimate": first.status.estimate.model_copy(update={"completes_at": told})})
    )
    then = plan(observe(tuningjob=body, job=job(parallelism=3, active=3, ready=3), progress=running), SETTINGS, NOON)
    assert then.status.estimate is not None
    assert (then.status.estimate.completes_at is not None) is is_known
    if is_known:
        assert then.wake_after is not None
        assert 60 < then.wake_after <= 60 + 16 * 60
