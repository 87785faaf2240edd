"""The small pure rooms: conditions, status, failures, children, the cache, the logs."""

import base64
import io
import json
import logging
import random
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operator.fake_cluster import well_formed
from tests.operator.test_plan import ended, tuningjob
from tests.operator.world import NOON
from tuningjob.manifest.status import (
    BestStatus,
    Condition,
    EstimateStatus,
    ProgressStatus,
    SpreadStatus,
    TuningJobStatus,
)
from tuningjob_operator import logs, names
from tuningjob_operator.cluster.cache import Cache, Store
from tuningjob_operator.decide import conditions as cs
from tuningjob_operator.decide.failure import explain
from tuningjob_operator.decide.owned_objects import ResultFiles, build_event, build_results, build_secret, read_files
from tuningjob_operator.decide.status import dump_status, publication_delay, read_status
from tuningjob_operator.objects import Body, Key
from tuningjob_operator.settings import read_settings

LATER = NOON.replace(hour=13)


def condition(kind: str = names.ADMITTED, *, now: Any = NOON, **changes: Any) -> Condition:
    (made,) = cs.set_condition((), kind, **({"reason": "R", "message": "m", "generation": 1, "now": now} | changes))
    return made


class TestConditions:
    def test_one_that_says_the_same_stays_as_it_is(self) -> None:
        old = (condition(),)

        assert cs.set_condition(old, names.ADMITTED, reason="R", message="m", generation=2, now=LATER) is old

    def test_a_new_message_keeps_the_transition_time(self) -> None:
        (new,) = cs.set_condition((condition(),), names.ADMITTED, reason="R", message="n", generation=2, now=LATER)

        assert (new.last_transition_time, new.observed_generation) == ("2026-01-01T12:00:00Z", 2)

    def test_a_new_status_moves_the_transition_time(self) -> None:
        (new,) = cs.set_condition(
            (condition(),), names.ADMITTED, reason="R", message="m", generation=1, now=LATER, status="False"
        )

        assert new.last_transition_time == "2026-01-01T13:00:00Z"

    @pytest.mark.parametrize("kind", names.TERMINAL)
    def test_nothing_follows_a_terminal_one(self, kind: str) -> None:
        old = (condition(kind),)

        assert cs.set_condition(old, names.FAILED, reason="X", message="x", generation=1, now=LATER) == old
        assert cs.drop_condition(old, kind) == old

    def test_transitions_are_those_whose_status_changed(self) -> None:
        old = (condition(names.ADMITTED), condition(names.PREFLIGHT))
        new = (
            condition(names.ADMITTED, status="False"),
            condition(names.PREFLIGHT, message="n"),
            condition(names.COMPLETE),
        )

        assert [c.type for c in cs.transitions(old, new)] == [names.ADMITTED, names.COMPLETE]


def at(done: int, total: int = 100, **fields: Any) -> TuningJobStatus:
    progress = ProgressStatus(done=done, failed=0, total=total, text=f"{done}/{total}")
    return TuningJobStatus.model_validate({"phase": "Running", "progress": progress} | fields)


def ending(completes_at: str | None) -> EstimateStatus:
    spread = SpreadStatus(low=1.0, expected=1.0, high=1.0)
    return EstimateStatus(
        cpu_hours=spread,
        wall_seconds=spread,
        memory_mib_per_process=None,
        memory_mib_per_pod=None,
        seconds_per_fit=spread,
        measured_fits=5,
        basis="5 fits of the search",
        completes_at=completes_at,
    )


COMPLETE = [condition(names.COMPLETE)]
BEST = BestStatus(index=1, score=0.5, params={})
PUBLICATIONS = {
    "nothing changed": (at(5), at(5), 100.0, None),
    "a cell more": (at(5), at(6), 100.0, None),
    "a step": (at(5), at(20), 100.0, 0.0),
    "less than a step": (at(5), at(19), 100.0, None),
    "the first cells of many, where one waits for them": (at(0), at(1), 60.0, 0.0),
    "the first cells of many, soon": (at(0), at(1), 30.0, None),
    "another end that is expected": (at(5, estimate=ending("12:30Z")), at(6, estimate=ending("12:40Z")), 100.0, None),
    "that the end is unknown which has passed": (
        at(5, estimate=ending("11:58Z")),
        at(5, estimate=ending(None)),
        0.0,
        0.0,
    ),
    "a step too soon after the last": (at(0), at(15), 1.0, 2.0),
    "another best within a step": (at(5), at(6, best=BEST), 100.0, None),
    "another number of pods within a step": (at(5), at(5, active_pods=2), 100.0, None),
    "another phase, however soon": (at(0, phase="Pending"), at(0), 0.0, 0.0),
    "the end, however soon": (at(100), at(100, phase="Complete", conditions=COMPLETE), 0.0, 0.0),
    "pods going home after the end": (
        at(100, conditions=COMPLETE, active_pods=3),
        at(100, conditions=COMPLETE, active_pods=2),
        100.0,
        None,
    ),
    "the last pod gone home while it is suspended": (
        at(50, phase="Suspended", active_pods=1),
        at(50, phase="Suspended", active_pods=0),
        1.0,
        0.0,
    ),
    "the last but one pod gone home while it is suspended": (
        at(50, phase="Suspended", active_pods=2),
        at(50, phase="Suspended", active_pods=1),
        1.0,
        None,
    ),
    "a fit of a pod that goes home while it is suspended": (
        at(50, phase="Suspended", active_pods=2),
        at(51, phase="Suspended", active_pods=1),
        100.0,
        None,
    ),
    "the last pod gone home after the end": (
        at(100, conditions=COMPLETE, active_pods=3),
        at(100, conditions=COMPLETE, active_pods=0),
        0.0,
        0.0,
    ),
}


@pytest.mark.parametrize(("old", "new", "since", "want"), PUBLICATIONS.values(), ids=PUBLICATIONS.keys())
def test_publishing(old: TuningJobStatus, new: TuningJobStatus, since: float, want: float | None) -> None:
    assert publication_delay(old, new, seconds_since_last=since, now=NOON) == want


def test_a_status_survives_the_way_over_the_api_server() -> None:
    status = at(5, best=BestStatus(index=1, score=1.0, params={"a": {"none": True}}), conditions=COMPLETE)
    # an API server writes 1.0 as 1
    back = json.loads(json.dumps(dump_status(status)).replace("1.0", "1"))

    assert read_status({"status": back}) == status


def test_a_status_that_is_not_ours_counts_as_none() -> None:
    assert read_status({"status": {"phase": 7}}) == TuningJobStatus()


def pod(name: str, **terminated: Any) -> Body:
    state = {"terminated": terminated} if terminated else {"waiting": {"reason": "ImagePullBackOff", "message": "no"}}
    return {
        "metadata": {"name": name},
        "status": {"phase": "Pending", "containerStatuses": [{"name": names.CONTAINER, "state": state}]},
    }


FAILURES = {
    "no pod is left": ([], "BackoffLimitExceeded", ["The Job's words."]),
    "a pod fell over": (
        [pod("a", exitCode=1, reason="Error", message="the end of a log\n", finishedAt="2026-01-01T12:00:00Z")],
        "BackoffLimitExceeded",
        ["The Job's words.", "Pod a ended with exit code 1 (Error).", "the end of a log"],
    ),
    "the last of two counts": (
        [
            pod("b", exitCode=137, reason="OOMKilled", finishedAt="2026-01-01T12:00:05Z"),
            pod("a", exitCode=1, reason="Error", finishedAt="2026-01-01T12:00:00Z"),
        ],
        "OutOfMemory",
        [
            "The Job's words.",
            "Pod b ended with exit code 137 (OOMKilled).",
            "Raise spec.resources.memory, or lower spec.resources.cpu: fewer fits then share it.",
        ],
    ),
    "a failed one counts before one that ended well later": (
        [
            pod("good", exitCode=0, reason="Completed", finishedAt="2026-01-01T12:00:05Z"),
            pod("bad", exitCode=1, reason="Error", finishedAt="2026-01-01T12:00:00Z"),
        ],
        "BackoffLimitExceeded",
        ["The Job's words.", "Pod bad ended with exit code 1 (Error)."],
    ),
    "a pod never started": (
        [pod("a")],
        "BackoffLimitExceeded",
        ["The Job's words.", "Pod a was Pending: ImagePullBackOff no."],
    ),
}


@pytest.mark.parametrize(("pods", "reason", "lines"), FAILURES.values(), ids=FAILURES.keys())
def test_a_failed_job_is_explained_when(pods: list[Body], reason: str, lines: list[str]) -> None:
    failed = ended("Failed", reason="BackoffLimitExceeded", message="The Job's words.")

    assert explain(failed, pods) == (reason, "\n".join(lines))


class TestChildren:
    def test_the_secret_is_immutable_and_the_same_each_time(self) -> None:
        secret = build_secret(tuningjob(), "tj1.a.b", secret_id="0123abcd")

        assert well_formed(secret) == secret
        assert secret["immutable"] is True
        assert base64.b64decode(secret["data"]["token"]) == b"tj1.a.b"
        assert secret["metadata"]["name"] == f"forest-token-0123abcd-{tuningjob()['metadata']['uid']}"

    def test_results_are_the_same_bytes_each_time(self) -> None:
        first, again = (read_files(lambda _: io.BytesIO(b"a,b\n" * 1000)) for _ in range(2))

        assert build_results(tuningjob(), first) == build_results(tuningjob(), again)

    def test_what_does_not_fit_is_left_out_and_named(self) -> None:
        noise = random.Random(0).randbytes(800 * 1024)
        results = build_results(
            tuningjob(),
            ResultFiles({"best_params.json": b"{}", "cv_results.csv": noise}, oversized=("leaderboard.csv",)),
        )

        assert results.left_out == ("leaderboard.csv (too large)", "cv_results.csv (too large)")
        assert set(results.configmap["data"]) == {"best_params.json"}
        assert "binaryData" not in results.configmap
        assert well_formed(results.configmap) == results.configmap

    def test_the_verdict_in_words_is_there_and_one_that_an_older_worker_never_wrote_is_not_missed(self) -> None:
        with_words, without = (
            build_results(tuningjob(), ResultFiles({"best_params.json": b"{}", "leaderboard.csv": b"", **verdict}))
            for verdict in ({"verdict.txt": "± 0.01\n".encode()}, {})
        )

        assert with_words.configmap["data"]["verdict.txt"] == "± 0.01\n"
        assert with_words.left_out == without.left_out == ("cv_results.csv (not there)",)
        too_large = build_results(tuningjob(), ResultFiles({}, oversized=("verdict.txt",)))
        assert "verdict.txt (too large)" in too_large.left_out

    def test_a_file_that_was_never_sent_is_named(self) -> None:
        assert build_results(tuningjob(), ResultFiles({})).left_out[0] == "best_params.json (not there)"

    def test_the_event_of_a_complete_search_names_its_page_if_the_chart_knows_where_that_is(self) -> None:
        done = condition(names.COMPLETE, reason=names.SEARCH_COMPLETE, message="m" * 2_000)
        url = "https://tuning.example.com"
        want = f" Page and report: {url}/v1/namespaces/{tuningjob()['metadata']['namespace']}/ui/searches/{tuningjob()['metadata']['uid']}"

        assert build_event(tuningjob(), done, NOON, url)["message"].endswith(want)
        assert len(build_event(tuningjob(), done, NOON, url)["message"]) <= 1_024
        assert "http" not in build_event(tuningjob(), done, NOON)["message"]
        assert "http" not in build_event(tuningjob(), condition(), NOON, url)["message"]

    def test_an_event_told_twice_has_one_name(self) -> None:
        first, again = (build_event(tuningjob(), condition(), now) for now in (NOON, LATER))
        other = build_event(tuningjob(), condition(now=LATER), LATER)

        assert first["metadata"]["name"] == again["metadata"]["name"] != other["metadata"]["name"]

    @pytest.mark.parametrize(
        ("made", "want"),
        [(condition(), "Normal"), (condition(status="False"), "Warning"), (condition(names.FAILED), "Warning")],
        ids=["admitted", "not admitted", "failed"],
    )
    def test_bad_news_is_a_warning(self, made: Condition, want: str) -> None:
        assert build_event(tuningjob(), made, NOON)["type"] == want


def version(number: int, *, uid: str = "u", name: str = "a") -> Body:
    return {"metadata": {"namespace": "n", "name": name, "uid": uid, "resourceVersion": str(number)}}


class TestCache:
    def test_an_older_body_never_replaces_a_newer_one(self) -> None:
        store = Store()
        for number in (3, 9, 5):
            store.put(version(number))

        found = store.get(Key("n", "a"))
        assert found is not None
        assert found["metadata"]["resourceVersion"] == "9"

    def test_a_late_deletion_does_not_remove_what_was_made_again(self) -> None:
        store = Store()
        store.put(version(9, uid="new"))

        assert store.remove(version(5, uid="old")) is None
        assert len(store) == 1

    def test_what_a_listing_no_longer_has_is_gone(self) -> None:
        store = Store()
        store.put(version(3, name="a"))
        store.put(version(4, name="b"))

        gone = store.vanished({Key("n", "b")}, resource_version="7")
        assert [body["metadata"]["name"] for body in gone] == ["a"]

    def test_what_came_after_a_listing_was_made_stays(self) -> None:
        store = Store()
        store.put(version(9))

        assert store.vanished((), resource_version="7") == []
        assert len(store) == 1

    @pytest.mark.slow
    @given(
        known=st.dictionaries(st.sampled_from("abcd"), st.integers(1, 30)),
        listed=st.dictionaries(st.sampled_from("abcd"), st.integers(1, 15)),
        later=st.dictionaries(st.sampled_from("abcd"), st.integers(31, 40)),
        to=st.integers(15, 30),
    )
    def test_a_listing_counts_whatever_was_known_before_it_and_what_is_told_meanwhile_counts_more(
        self, known: dict[str, int], listed: dict[str, int], later: dict[str, int], to: int
    ) -> None:
        store = Store()
        for name, number in known.items():
            store.put(version(number, name=name))
        store.asks()
        for name, number in later.items():
            store.put(version(number, name=name))
        store.listed(str(to))
        for name, number in listed.items():
            store.put(version(number, name=name), listing=str(to))
        store.vanished({Key("n", name) for name in listed}, resource_version=str(to))

        found = {key.name: store.get(key) for key in map(partial(Key, "n"), "abcd") if store.uid(key)}
        is_taken_back = to < max(known.values(), default=0)
        want = listed if is_taken_back else listed | later
        assert {name: int(body["metadata"]["resourceVersion"]) for name, body in found.items() if body} == want

    def test_a_listing_of_one_namespace_says_nothing_of_another(self) -> None:
        store = Store()
        store.put(version(3))

        assert store.vanished((), resource_version="7", covers=lambda key: key.namespace == "other") == []

    def test_a_namesake_buries_the_one_before(self) -> None:
        cache = Cache()
        cache.put_tuningjob(version(1, uid="old"))
        cache.put_tuningjob(version(2, uid="new"))

        assert cache.tombstones(Key("n", "a")) == ("old",)
        assert cache.key_of_uid("old") is None
        assert cache.key_of_uid("new") == Key("n", "a")

    def test_managed_fields_are_not_kept(self) -> None:
        store = Store()
        body = version(1)
        body["metadata"]["managedFields"] = [{}]
        store.put(body)

        assert store.get(Key("n", "a")) == version(1)


def test_each_log_line_is_an_object_with_the_tuningjobs_name() -> None:
    record = logging.makeLogRecord({"name": "x", "msg": "scaled %s", "args": ("it",), "levelname": "INFO", "pods": 3})
    token = logs.current_tuningjob.set("default/forest")
    line = json.loads(logs.JsonFormatter().format(record))
    logs.current_tuningjob.reset(token)

    assert (line["message"], line["pods"], line["tuningjob"]) == ("scaled it", 3, "default/forest")


@pytest.fixture
def _levels_as_before() -> Iterator[None]:
    loggers = [logging.getLogger(), *(logging.getLogger(name) for name in (*logs.OURS, *logs.CHATTERERS))]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


@pytest.mark.usefixtures("_levels_as_before")
@pytest.mark.parametrize(
    ("level", "ours", "others"),
    [
        # a bucket's client logs its signatures at debug
        ("debug", logging.DEBUG, logging.INFO),
        ("info", logging.INFO, logging.INFO),
        ("error", logging.ERROR, logging.ERROR),
    ],
)
def test_a_level_is_everybodys_and_debug_is_ours_alone(level: str, ours: int, others: int) -> None:
    logs.set_level(level)
    for name in ("tuningjob.journal.sql", "tuningjob_operator.control.loops"):
        assert logging.getLogger(name).getEffectiveLevel() == ours
    assert logging.getLogger("botocore.auth").getEffectiveLevel() == others
    assert logging.getLogger("kopf.objects").getEffectiveLevel() == max(others, logging.WARNING)


@pytest.mark.parametrize("text", ["0%", "101%", "half%", "5%0", "-1%", "1.5%"])
def test_a_part_of_the_volume_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"TUNINGJOB_MAX_NAMESPACE_BYTES: must be a quantity or of 1% to 100%, but got"
    ):
        read_settings({"TUNINGJOB_MAX_NAMESPACE_BYTES": text})


def test_a_level_that_is_none_is_refused_with_what_there_is() -> None:
    with pytest.raises(ValueError, match="must be one of debug, info, warning, error, but got 'loud'"):
        read_settings({"TUNINGJOB_LOG_LEVEL": "loud"})
