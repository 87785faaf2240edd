"""What a user does to a search that runs on a real cluster: scale, suspend, end it; and what is left of it then."""

import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cluster import patient
from tests.cluster.harness import metrics
from tests.cluster.harness.client import Cluster
from tests.cluster.harness.release import Release
from tests.cluster.people import person
from tests.cluster.test_search import assert_equal_to_scikit_learn, is_complete
from tests.cluster.tuningjobs import TuningJobs, all_at_once, small_pod
from tests.report import browser
from tests.report.browser import Page
from tests.report.watching import DONE, bless, click, has_no_barrier, ui

pytestmark = pytest.mark.cluster

Document = dict[str, Any]

ENDING: Final[dict[str, Document]] = {
    "late": {"activeDeadlineSeconds": 5},
    # as long as all of these tests
    "cancelled": patient.forest(most_leaves=1_000, pause_seconds=5),
    "unstarted": {"startDeadlineSeconds": 40, "image": "localhost/no-such-image:1"},
    "failing": {
        "limits": {"maxFailedFits": 3},
        # larger than there are samples: known only as it is fitted
        "estimator": {"class": "sklearn.neighbors.KNeighborsClassifier"},
        "search": {"grid": {"parameters": {"n_neighbors": [5, 100_000, 200_000]}}},
    },
    "plan": {"mode": "Plan", "parallelism": 4},
}


@pytest.fixture(scope="module", autouse=True)
def ending(cluster: Cluster, release: Release) -> Iterator[TuningJobs]:
    """A search for each reason to end, begun before the other tests: the kubelet gives its word on an image after half a minute."""
    documents = (searching(name, **spec) for name, spec in ENDING.items())
    with all_at_once(cluster, release, "ending", patient.code(), *documents) as found:
        yield found


def searching(name: str, **spec: Any) -> Document:
    """A TuningJob with a patient forest in one small pod, changed by ``spec``."""
    mine = {"crossValidation": {"folds": 5}, "baseline": False, "parallelism": 1}
    small = {"resources": small_pod("300m")}
    return {
        "apiVersion": "tuningjob.dev/v1alpha1",
        "kind": "TuningJob",
        "metadata": {"name": name},
        "spec": {**patient.forest(), **mine, **small, **spec},
    }


def patch(jobs: TuningJobs, name: str, **spec: Any) -> None:
    jobs.cluster.kubectl(
        "patch", "tj", name, "--type=merge", "-p", json.dumps({"spec": spec}), namespace=jobs.namespace
    )


def has_done(cells: int) -> Any:
    def some_are_done(status: Document) -> bool:
        return bool(status.get("progress", {}).get("done", 0) >= cells)

    return some_are_done


def running(jobs: TuningJobs, name: str) -> list[str]:
    return jobs.running(name)


def wait_until_idle(jobs: TuningJobs, name: str) -> None:
    jobs.cluster.wait_for(f"{name} to have no pod", lambda: not running(jobs, name), namespace=jobs.namespace)


def wait_until_gone(jobs: TuningJobs, kind: str, name: str) -> None:
    def is_gone() -> bool:
        return jobs.cluster.get(kind, name, namespace=jobs.namespace) is None

    jobs.cluster.wait_for(f"{kind} {name} to go", is_gone, namespace=jobs.namespace)


def test_kubectl_scale_takes_pods_in_and_sends_them_home_in_the_middle_of_a_search(
    jobs: TuningJobs, slow_forest: Document
) -> None:
    slow_forest["spec"].update(patient.forest(most_leaves=44, pause_seconds=1))
    jobs.apply(slow_forest)
    jobs.wait_for_fits("forest", 3)
    jobs.cluster.kubectl("scale", "tj/forest", "--replicas=3", namespace=jobs.namespace)

    jobs.cluster.wait_for("three pods", lambda: len(running(jobs, "forest")) == 3, namespace=jobs.namespace)
    uid = jobs.get("forest")["metadata"]["uid"]

    def all_three_have_reported() -> bool:
        return set(jobs.reporters("forest")) == {0, 1, 2}

    jobs.cluster.wait_for("each to report", all_three_have_reported, namespace=jobs.namespace)
    # what a HorizontalPodAutoscaler reads and writes
    path = f"/apis/tuningjob.dev/v1alpha1/namespaces/{jobs.namespace}/tuningjobs/forest/scale"
    scale = json.loads(jobs.cluster.kubectl("get", "--raw", path))
    assert scale["spec"]["replicas"] == 3
    selected = jobs.cluster.items("pods", "-l", scale["status"]["selector"], namespace=jobs.namespace)
    assert {pod["metadata"]["labels"]["tuningjob.dev/uid"] for pod in selected} == {uid}

    jobs.cluster.kubectl("scale", "tj/forest", "--replicas=1", namespace=jobs.namespace)
    jobs.cluster.wait_for("one pod", lambda: len(running(jobs, "forest")) == 1, namespace=jobs.namespace)
    assert not is_complete(jobs.status("forest")), "the search ended before it was scaled down"
    jobs.finish("forest")

    assert_equal_to_scikit_learn(jobs, slow_forest)
    assert jobs.report_counts("forest") == {1: 200}
    job = jobs.cluster.get("job", "forest", namespace=jobs.namespace)
    assert job is not None
    assert job["spec"]["completions"] == 1, "the same Job, smaller"


@pytest.mark.usefixtures("own_nodes")
def test_a_horizontal_pod_autoscaler_takes_pods_in_and_sends_them_home(
    jobs: TuningJobs, slow_forest: Document, tmp_path: Path
) -> None:
    slow_forest["spec"].update(patient.forest(most_leaves=44, pause_seconds=1))
    wanted = metrics.Metric("wanted-pods", value=1)
    target = {"apiVersion": slow_forest["apiVersion"], "kind": "TuningJob", "name": "forest"}
    metric = {"metric": {"name": wanted.name}, "target": {"type": "AverageValue", "averageValue": "1"}}
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "forest"},
        "spec": {
            "scaleTargetRef": target,
            "minReplicas": 1,
            "maxReplicas": 4,
            "metrics": [{"type": "External", "external": metric}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
        },
    }
    jobs.apply(slow_forest)
    jobs.wait_for_fits("forest", 3)
    with metrics.served(jobs.cluster, wanted, tmp_path):
        jobs.apply(autoscaler)
        wanted.value = 3
        # it looks every 15 seconds, and only once the API server has found whom to ask for the metric
        jobs.cluster.wait_for("three pods", lambda: len(running(jobs, "forest")) == 3, namespace=jobs.namespace)
        jobs.cluster.wait_for("each to report", lambda: len(jobs.reporters("forest")) == 3, namespace=jobs.namespace)
        wanted.value = 1
        jobs.cluster.wait_for("one pod", lambda: len(running(jobs, "forest")) == 1, namespace=jobs.namespace)
    assert jobs.get("forest")["spec"]["parallelism"] == 1
    assert not is_complete(jobs.status("forest")), "the search ended before it was scaled down"
    jobs.finish("forest")

    assert_equal_to_scikit_learn(jobs, slow_forest)
    assert jobs.report_counts("forest") == {1: 200}


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if browser.where() is None and "TUNINGJOB_REQUIRE_CLUSTER" not in os.environ:
        pytest.skip("needs Debian's chromium")
    with browser.chromium(tmp_path_factory.mktemp("chromium")) as url:
        yield url


@asynccontextmanager
async def watched(jobs: TuningJobs, chromium: str, folder: Path) -> AsyncIterator[Page]:
    """The namespace in the browser of Carol, who may edit it, by `tuningjob ui`: all it is told of is a kubeconfig."""
    carol = person(jobs.cluster, jobs.namespace, "carol", role="edit", server="")
    mine = {"KUBECONFIG": str(jobs.cluster.kubeconfig), "TUNINGJOB_TOKEN": carol.token}
    async with browser.new_page(chromium) as page:
        with ui("-n", jobs.namespace, cwd=folder, **mine) as address:
            await page.size(1280, 900)
            await page.open(address)
            yield page


def restart_the_service(jobs: TuningJobs) -> None:
    """Another pod, which takes over its volume."""
    where = jobs.release.namespace
    before = [pod["metadata"]["uid"] for pod in jobs.cluster.items("pods", "-l", jobs.operator_pods, namespace=where)]
    jobs.cluster.kubectl("delete", "pod", "-l", jobs.operator_pods, "--wait=false", namespace=where)

    def is_another() -> bool:
        pods = jobs.cluster.items("pods", "-l", jobs.operator_pods, namespace=where)
        return any(pod["metadata"]["uid"] not in before for pod in pods)

    jobs.cluster.wait_for("another pod of the service", is_another, namespace=where)


async def test_a_suspended_search_keeps_what_it_has_and_goes_on_as_a_browser_sees_from_apply_to_blessed(
    jobs: TuningJobs, slow_forest: Document, chromium: str, tmp_path: Path
) -> None:
    slow_forest["spec"]["parallelism"] = 2
    jobs.apply(slow_forest)
    async with watched(jobs, chromium, tmp_path) as page:
        await page.sees("document.querySelector('tbody a')", seconds=200)
        await click(page, "forest")
        await page.sees(f"document.querySelector('progress') && {DONE} > 0", seconds=200)
        jobs.wait_for("forest", has_done(12))
        patch(jobs, "forest", suspend=True)

        jobs.cluster.wait_for("no pod", lambda: running(jobs, "forest") == [], namespace=jobs.namespace)
        status = jobs.wait_for("forest", lambda status: status.get("phase") == "Suspended")
        assert jobs.condition("forest", "Suspended")["status"] == "True"
        kept = sum(jobs.report_counts("forest").values())
        assert kept >= status["progress"]["done"] >= 12
        await page.sees("document.body.innerText.includes('SuspendRequested')")
        restart_the_service(jobs)
        patch(jobs, "forest", suspend=False)
        jobs.finish("forest")

        # it came again by itself, and has what the API server says of it and the map of what is in
        await page.sees("document.querySelector('.state').textContent.startsWith('Complete')", seconds=120)
        await page.sees("!document.getElementById('part').dataset.stream", seconds=120)
        told = await page.run("[...document.querySelectorAll('table.told tr')].map(row => row.innerText).join('\\n')")
        for reason in ("WithinLimits", "Passed", "SuspendRequested", "Resumed", "SearchComplete"):
            assert reason in told, reason
        assert await page.run("document.querySelectorAll('#table-map tbody td').length") > 1
        assert [each for each in page.complaints if "'source': 'network'" not in each] == []
        await has_no_barrier(page, "cluster")
        await click(page, "forest, version 1")
        await bless(page, "1", because="seen from apply to here")
        assert "carol" in await page.run("document.body.innerText")

    assert_equal_to_scikit_learn(jobs, slow_forest)
    assert jobs.report_counts("forest") == {1: 90}
    told = jobs.cluster.kubectl("describe", "tj", "forest", namespace=jobs.namespace)
    events = told[told.index("Events:") :]
    order = [events.index(word) for word in ("WithinLimits", "Passed", "SuspendRequested", "Resumed", "SearchComplete")]
    assert order == sorted(order), events


def test_what_takes_too_long_is_scored_nan_and_the_tuningjob_goes_when_its_time_is_over(
    jobs: TuningJobs, slow_forest: Document
) -> None:
    slow_forest["spec"]["limits"] = {"fitTimeoutSeconds": 3}
    slow_forest["spec"]["search"]["grid"]["parameters"] = {"n_estimators": [5, 20_000]}
    slow_forest["spec"]["crossValidation"] = {"folds": 2}
    slow_forest["spec"]["ttlSecondsAfterFinished"] = 10
    jobs.apply(slow_forest)
    jobs.finish("forest")

    assert jobs.status("forest")["progress"]["failed"] == 2
    assert jobs.status("forest")["best"]["params"] == {"n_estimators": 5}
    for kind, name in (("tj", "forest"), ("job", "forest"), ("configmap", "forest-results")):
        wait_until_gone(jobs, kind, name)


def test_kubectl_get_shows_how_it_stands(jobs: TuningJobs, slow_forest: Document) -> None:
    jobs.apply(slow_forest)
    jobs.wait_for("forest", has_done(1))
    header, row = jobs.cluster.kubectl("get", "tj", namespace=jobs.namespace).splitlines()
    assert header.split() == ["NAME", "PHASE", "DONE", "ETA", "BEST", "FAILED", "PODS", "AGE"]
    assert row.split()[:2] == ["forest", "Running"]
    assert row.split()[3].endswith("Z"), "a time of the day, in UTC"
    wide, _ = jobs.cluster.kubectl("get", "tj", "-o", "wide", namespace=jobs.namespace).splitlines()
    assert wide.split()[-3:] == ["QUEUE", "CANDIDATES", "MESSAGE"]


def test_a_search_ends_for_each_reason_that_its_manifest_names(ending: TuningJobs) -> None:
    ending.wait_for_fits("cancelled", 2)
    patch(ending, "cancelled", cancel=True)

    reasons = {name: ending.wait_for_failure(name) for name in ENDING if name != "plan"}
    assert {name: found["reason"] for name, found in reasons.items()} == {
        "late": "DeadlineExceeded",
        "cancelled": "Cancelled",
        "unstarted": "StartDeadlineExceeded",
        "failing": "TooManyFailedFits",
    }
    assert "n_neighbors" in reasons["failing"]["message"]
    assert "no-such-image" in reasons["unstarted"]["message"], "the kubelet's own words, after 30 s"
    ending.wait_for("plan", lambda status: status.get("phase") == "Planned")
    forecast = ending.status("plan")["estimate"]
    assert forecast["cpuHours"]["low"] <= forecast["cpuHours"]["expected"] <= forecast["cpuHours"]["high"]
    assert 0 < forecast["wallSeconds"]["expected"] < 3_600
    assert 1 < forecast["memoryMibPerProcess"]["high"] < 400
    assert ending.condition("plan", "Complete")["reason"] == "PlanReady"
    for name in ENDING:
        wait_until_idle(ending, name)
