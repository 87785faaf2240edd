"""`tuningjob ui` in a process of its own, and what a person does in its pages."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from tests.report.browser import Page

PICTURES = Path(__file__).parents[2] / "build" / "screenshots"
AXE = (files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
DONE = "Number(document.querySelector('progress').value)"


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
    await page.size(390, 900)
    assert await page.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), name
    await page.picture(PICTURES / f"live-{name}-phone.png")
    await page.size(1280, 900)


async def click(page: Page, words: str, *, tag: str = "a") -> None:
    script = (
        f"[...document.querySelectorAll({tag!r})].find(each => each.textContent.trim().startsWith({words!r})).click()"
    )
    await page.leave(script)


async def bless(page: Page, version: str, *, because: str) -> None:
    """On the page of a model, put a version into use."""
    await page.sees("document.querySelector('#bless-why')")
    await page.leave(
        f"document.querySelector('#bless-version').value = {version!r}; document.querySelector('#bless-why').value = {because!r}; "
        "document.querySelector('form').requestSubmit()"
    )
    await page.sees(
        f"[...document.querySelectorAll('tbody tr')].some(row => row.children[0].textContent === {version!r} && "
        "row.children[1].textContent === 'in use')"
    )
