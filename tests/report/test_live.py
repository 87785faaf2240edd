"""A search watched in a real Chromium from running to blessed: on a laptop, and of a namespace through the results service."""

import os
import signal
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
from tests.report.test_browser import AXE, HOSTILE, PICTURES
from tests.service.server import Service
from tests.waiting import wait_for
from tuningjob.protocol.requests import Report

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        browser.where() is None and "TUNINGJOB_REQUIRE_CLUSTER" not in os.environ, reason="needs Debian's chromium"
    ),
]
DONE = "Number(document.querySelector('progress').value)"
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


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with browser.chromium(tmp_path_factory.mktemp("chromium")) as url:
        yield url


@contextmanager
def ui(*arguments: str, cwd: Path, **environment: str) -> Iterator[str]:
    """`tuningjob ui` in a process of its own; the address that it prints."""
    command = [sys.executable, "-m", "tuningjob.cli", "ui", "--no-browser", *arguments]
    process = subprocess.Popen(command, cwd=cwd, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        process.stdout.close()


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


async def has_no_barrier(page: Page, name: str) -> None:
    """In light and dark nothing is amiss for axe-core, and a picture of it is kept."""
    await page.run(f"{AXE}; 0")
    for dark in (False, True):
        await page.size(1280, 900, dark=dark)
        found = await page.run("axe.run(document, {resultTypes: ['violations']})")
        assert [
            (each["id"], [node["html"][:200] for node in each["nodes"][:3]]) for each in found["violations"]
        ] == [], name
        await page.picture(PICTURES / f"live-{name}-{'dark' if dark else 'light'}.png")


async def click(page: Page, words: str, *, tag: str = "a") -> None:
    script = (
        f"[...document.querySelectorAll({tag!r})].find(each => each.textContent.trim().startsWith({words!r})).click()"
    )
    await page.leave(script)


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
                await page.sees("document.querySelector('#bless-why')")
                await page.leave(
                    "document.querySelector('#bless-why').value = 'seen to be good'; document.querySelector('form').requestSubmit()"
                )
                await page.sees("document.body.innerText.includes('seen to be good')")
                assert await page.run("document.querySelector('tbody tr').children[1].textContent") == "in use"
                await click(page, "Report")
                await page.sees("document.title.includes('what came of the search')")
                assert await page.run("document.querySelectorAll('#candidates-body tr').length") == 16
            assert page.complaints == []
            assert {request.split("/")[2] for request in page.requests} == {address.split("/")[2]}


async def test_a_namespace_is_watched_through_the_service_which_is_restarted_and_hostile_texts_are_text(
    chromium: str, tmp_path: Path
) -> None:
    service = Service(tmp_path / "service")
    where = {"model_key": "forest", "created_by": HOSTILE, "image": HOSTILE}
    for number, namespace in (("done", "team"), ("foreign", "other")):
        service.journal.open_search(a_search(number, namespace=namespace, name=f"{number}-search", **where))
        view = service.journal.view(number)
        view.set_preflight(a_preflight())
        Pod(view).work()
        view.complete(replace(an_answer(), best_params={HOSTILE: HOSTILE}))
    service.journal.open_search(a_search("running", name=HOSTILE, **where))
    view = service.journal.view("running")
    view.set_preflight(a_preflight(warnings=(f"Odd: {HOSTILE}",)))
    pod = Pod(view)
    service.start()
    token = service.register.enter("ada", "get", "update")
    try:
        async with browser.new_page(chromium) as page:
            with ui("--server", service.url, "-n", "team", cwd=tmp_path, TUNINGJOB_TOKEN=token) as address:
                await page.size(1280, 900)
                await page.open(address)
                await page.sees("document.querySelectorAll('tbody tr').length == 2")
                assert "foreign" not in await page.run("document.body.innerText")
                await page.run(
                    "document.getElementById('filter').value = 'done'; document.getElementById('filter').dispatchEvent(new Event('input'))"
                )
                assert await page.run("document.querySelectorAll('tbody tr:not([hidden])').length") == 1
                await has_no_barrier(page, "list")
                await click(page, HOSTILE)
                await page.sees(f"document.querySelector('progress') && {DONE} === 0")

                unit = pod.must_claim()
                failed = a_result(unit.cells[0], test_scores={"accuracy": float("nan")}, error=f"Traceback\n{HOSTILE}")
                view.report(Report(index=0, results=[failed, *map(a_result, unit.cells[1:])]))
                await page.sees(f"{DONE} === {len(unit.cells)}")
                assert HOSTILE in await page.run("document.querySelector('details pre').textContent")
                assert HOSTILE in await page.run("document.querySelector('.story').textContent")
                assert page.complaints == []

                service.restart()
                view, pod = service.journal.view("running"), Pod(service.journal.view("running"))
                pod.work()
                await page.sees(f"{DONE} === 30")  # it comes again by itself
                await has_no_barrier(page, "search")
                view.complete(an_answer())
                await page.sees(
                    "document.querySelector('.state').textContent.startsWith('Complete') && !document.getElementById('part').dataset.stream"
                )
                assert [each for each in page.complaints if "'source': 'network'" not in each] == []
                page.complaints.clear()

                await click(page, "forest, version 2")
                await page.sees("document.querySelector('#bless-why')")
                for version in ("1", "2"):
                    await page.leave(
                        f"document.querySelector('#bless-version').value = '{version}'; document.querySelector('#bless-why').value = {HOSTILE!r}; document.querySelector('form').requestSubmit()"
                    )
                    await page.sees(
                        f"[...document.querySelectorAll('tbody tr')].some(row => row.children[0].textContent === '{version}' && row.children[1].textContent === 'in use')"
                    )
                await page.leave(
                    "document.querySelector('#rollback-why').value = 'worse'; document.querySelectorAll('form')[1].requestSubmit()"
                )
                await page.sees("document.body.innerText.includes('worse')")
                assert service.journal.audit.blessed(namespace="team", model_key="forest").version == 1
                assert [each.who for each in service.journal.audit.blessings(namespace="team", model_key="forest")] == [
                    "ada"
                ] * 3
                await page.leave("document.querySelector('#before').form.requestSubmit()")
                await page.sees("document.body.innerText.includes('params.')")
                await has_no_barrier(page, "model")
            assert page.complaints == []
            assert {request.split("/")[2] for request in page.requests} == {address.split("/")[2]}
    finally:
        service.close()
