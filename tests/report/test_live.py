"""A search watched in a real Chromium from running to blessed: on a laptop, and of a namespace through the results service."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.journal.makers import Pod, a_preflight, a_result, a_search, an_answer
from tests.report import browser
from tests.report.browser import Page
from tests.report.test_browser import HOSTILE
from tests.report.watching import DONE, bless, click, has_no_barrier, ui
from tests.service.server import Service
from tests.waiting import wait_for
from tuningjob.live.story import ObjectStory, ToldCondition, ToldEvent
from tuningjob.protocol.requests import Report

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        browser.where() is None and "TUNINGJOB_REQUIRE_CLUSTER" not in os.environ, reason="needs Debian's chromium"
    ),
]
PATIENT = """
import time
from pathlib import Path
from sklearn.tree import DecisionTreeClassifier

class Patient(DecisionTreeClassifier):
    def fit(self, X, y):
        until = time.monotonic() + (self.max_depth > 1)
        while time.monotonic() < until and not Path(__file__).with_name("go").exists():
            time.sleep(0.02)
        return super().fit(X, y)
"""
SMALL = {
    "apiVersion": "tuningjob.dev/v1alpha1",
    "kind": "TuningJob",
    "metadata": {"name": "watched"},
    "spec": {
        "estimator": {"class": "patient.Patient", "params": {"random_state": 0}},
        "search": {"grid": {"parameters": {"max_depth": [1, 2, 3, 4], "min_samples_leaf": [1, 2, 5, 9]}}},
        "data": {"loader": "sklearn.datasets.load_breast_cancer"},
        "baseline": False,
    },
}


@contextmanager
def searching(folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """`tuningjob run`, once its journal is there."""
    (folder / "job.yaml").write_text(yaml.safe_dump(SMALL))
    (folder / "patient.py").write_text(PATIENT)
    command = [sys.executable, "-m", "tuningjob.cli", "run", "job.yaml"]
    running = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    journal = folder / "results" / "watched" / "tuning.db"
    try:
        wait_for(lambda: journal.is_file() or running.poll() is not None, seconds=120)
        yield running
    finally:
        running.kill()
        running.communicate()


async def test_a_search_on_a_laptop_is_watched_from_running_to_blessed(chromium: str, tmp_path: Path) -> None:
    with searching(tmp_path) as running:
        async with browser.new_page(chromium) as page:
            with ui(cwd=tmp_path) as address:
                await page.size(1280, 900)
                await page.open(address)
                await page.sees("document.querySelector('tbody a')")
                await click(page, "watched")
                await page.sees(f"{DONE} > 0 && {DONE} < 80")
                seen = await page.run(DONE)
                (tmp_path / "go").touch()  # fits that waited go on
                await page.sees(f"{DONE} > {seen}")  # fed, not loaded again
                await page.sees("document.querySelectorAll('figure').length > 3", seconds=120)
                await page.sees(
                    "document.querySelector('.state').textContent.startsWith('Complete') && !document.getElementById('part').dataset.stream",
                    seconds=180,
                )
                assert running.wait(60) == 0
                await has_no_barrier(page, "laptop")
                await click(page, "watched, version 1")
                await bless(page, "1", because="seen to be good")
                assert "seen to be good" in await page.run("document.body.innerText")
                await click(page, "Report")
                await page.sees("document.title.includes('what came of the search')")
                assert await page.run("document.querySelectorAll('#candidates-body tr').length") == 16
            assert page.complaints == []
            assert {request.split("/")[2] for request in page.requests} == {address.split("/")[2]}


GRID = {
    "estimator": {"class": "sklearn.svm.SVC"},
    "search": {"grid": {"parameters": {"C": [1, 10, 100], "kernel": [HOSTILE, "rbf"]}}},
    "data": {"loader": "sklearn.datasets.load_iris"},
}
SAID = ObjectStory(
    phase="Running",
    plan=f"2 pods {HOSTILE}",
    why=HOSTILE,
    conditions=(ToldCondition(HOSTILE, "False", HOSTILE, HOSTILE, "2026-03-01T12:00:00Z"),),
    events=(ToldEvent(at="2026-03-01T12:00:00Z", count=2, is_warning=True, reason=HOSTILE, message=HOSTILE),),
    missing=(HOSTILE,),
)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A search that is done and one that runs in the namespace team, and one that is done in another; all of them hostile."""
    service = Service(tmp_path / "service")
    where = {"model_key": "forest", "created_by": HOSTILE, "image": HOSTILE}
    for number, namespace in (("done", "team"), ("foreign", "other")):
        service.journal.open_search(a_search(number, namespace=namespace, name=f"{number}-search", **where))
        view = service.journal.view(number)
        view.set_preflight(a_preflight())
        Pod(view).work()
        view.complete(replace(an_answer(), best_params={HOSTILE: HOSTILE}))
    service.journal.open_search(a_search("running", name=HOSTILE, spec=GRID, **where))
    service.journal.view("running").set_preflight(a_preflight(warnings=(f"Odd: {HOSTILE}",)))
    service.register.stories[HOSTILE] = SAID
    service.start()
    yield service
    service.close()


async def test_a_namespace_is_watched_through_the_service_which_is_restarted_and_hostile_texts_are_text(
    chromium: str, service: Service, tmp_path: Path
) -> None:
    token = service.register.enter("ada", "get", "update")
    async with browser.new_page(chromium) as page:
        with ui("--server", service.url, "-n", "team", cwd=tmp_path, TUNINGJOB_TOKEN=token) as address:
            await page.size(1280, 900)
            await page.open(address)
            await the_lists_are_right(page)
            await click(page, HOSTILE)
            await page.sees(f"document.querySelector('progress') && {DONE} === 0")
            await what_comes_is_shown(page, service)
            assert page.complaints == []

            service.restart()
            Pod(service.journal.view("running")).work()
            await page.sees(f"{DONE} === 30")  # it comes again by itself
            await has_no_barrier(page, "search")
            await the_end_is_shown(page, service)
            assert [each for each in page.complaints if "'source': 'network'" not in each] == []
            page.complaints.clear()
            await versions_are_blessed_rolled_back_and_compared(page, service)
        assert page.complaints == []
        assert {request.split("/")[2] for request in page.requests} == {address.split("/")[2]}


async def the_lists_are_right(page: Page) -> None:
    """Of the namespace, filtered; and of all that Ada may see, which is this one alone."""
    await page.sees("document.querySelectorAll('tbody tr').length == 2")
    await page.run(
        "document.getElementById('filter').value = 'done'; document.getElementById('filter').dispatchEvent(new Event('input'))"
    )
    assert await page.run("document.querySelectorAll('tbody tr:not([hidden])').length") == 1
    await click(page, "All namespaces")
    await page.sees("document.title === 'Searches in all namespaces'")
    assert "foreign" not in await page.run("document.body.innerText")
    assert await page.run("document.querySelectorAll('tbody tr').length") == 2
    await has_no_barrier(page, "list")


async def what_comes_is_shown(page: Page, service: Service) -> None:
    """A fit that failed, the TuningJob's own story, and the map of what is in."""
    view = service.journal.view("running")
    unit = Pod(view).must_claim()
    nothing = {"accuracy": float("nan")}
    failed = a_result(unit.cells[0], test_scores=nothing, error=f"Traceback\n{HOSTILE}")
    view.report(Report(index=0, results=[failed, *map(a_result, unit.cells[1:])]))
    await page.sees(f"{DONE} === {len(unit.cells)}")
    for text in ("details pre", ".story", "table.told tbody td:nth-child(4)"):
        assert HOSTILE in await page.run(f"document.querySelector({text!r}).textContent"), text
    assert await page.run("document.querySelectorAll('table.told').length") == 2


async def the_end_is_shown(page: Page, service: Service) -> None:
    """The journal's, and then the TuningJob's, which the operator writes a moment later."""
    assert HOSTILE in await page.run("document.querySelector('#table-map tbody th').textContent")
    service.journal.view("running").complete(an_answer())
    await page.sees("document.querySelector('.state').textContent.startsWith('Complete')")
    over = ToldCondition("Complete", "True", "SearchComplete", "that was it", "2026-03-01T12:00:00Z")
    service.register.stories[HOSTILE] = replace(SAID, conditions=(over,))
    await page.sees(
        "document.body.innerText.includes('that was it') && !document.getElementById('part').dataset.stream"
    )


async def versions_are_blessed_rolled_back_and_compared(page: Page, service: Service) -> None:
    await click(page, "forest, version 2")
    for version in ("1", "2"):
        await bless(page, version, because=HOSTILE)
    await page.leave(
        "document.querySelector('#rollback-why').value = 'worse'; document.querySelectorAll('form')[1].requestSubmit()"
    )
    await page.sees("document.body.innerText.includes('worse')")
    assert service.journal.audit.blessed(namespace="team", model_key="forest").version == 1
    blessings = service.journal.audit.blessings(namespace="team", model_key="forest")
    assert [each.who for each in blessings] == ["ada"] * 3
    await page.leave("document.querySelector('#before').form.requestSubmit()")
    await page.sees("document.body.innerText.includes('params.')")
    await has_no_barrier(page, "model")
