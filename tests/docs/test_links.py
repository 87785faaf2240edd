"""Links of the documentation lead somewhere."""

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted(
    page
    for folder in (
        *(ROOT, ROOT / "docs", ROOT / "docs" / "coming-from"),
        *(ROOT / "charts" / "tuningjob", ROOT / "examples" / "serving"),
    )
    for page in folder.glob("*.md")
)


def anchors(page: Path) -> set[str]:
    """Where a link may point to within a page: its headings as GitHub writes them, and what has an id."""
    text = re.sub(r"(?ms)^```.*?^```$", "", page.read_text())
    headings = re.findall(r"(?m)^#+ (.+)$", text)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'id="([\w-]+)"', text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_within_the_project_is_good(page: Path) -> None:
    bad = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            bad.append(link)
    assert bad == []


def test_every_decision_has_its_anchor() -> None:
    numbers = [
        int(number)
        for number in re.findall(r'(?m)^\d+\. <a id="decision-(\d+)"', (ROOT / "docs" / "design.md").read_text())
    ]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) == len(re.findall(r"(?m)^\d+\. ", (ROOT / "docs" / "design.md").read_text()))


def test_every_path_that_a_page_names_is_there() -> None:
    named = [
        path
        for page in (ROOT / "CONTRIBUTING.md", ROOT / "docs" / "pictures.md", ROOT / "docs" / "design.md")
        for path in re.findall(r"`((?:tests|worker|operator|docs|examples|charts)/[\w./]+)`", page.read_text())
    ]
    assert len(named) > 10
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_test_that_a_page_names_is_there() -> None:
    named = {
        (path, test) for page in PAGES for path, test in re.findall(r"`(tests/[\w/]+\.py)::(\w+)", page.read_text())
    }
    assert len(named) > 40
    gone = [
        f"{path}::{test}"
        for path, test in sorted(named)
        if not (ROOT / path).exists() or f"def {test}(" not in (ROOT / path).read_text()
    ]
    assert gone == []
