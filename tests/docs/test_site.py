"""The documentation as a site: built without a network, every link good, and the reference generated from what is documented."""

import html
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``-W``: a link or an anchor that is not there is an error, as is a page that no list of pages names."""
    folder = tmp_path_factory.mktemp("site")
    options = ("-W", "--keep-going", "--quiet", "-c", "docs/site", "-b", "dirhtml")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, "-d", str(folder / "doctrees"), ".", str(folder / "html")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "html"


def words_of(page: Path) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")))


@pytest.mark.slow
def test_the_site_has_every_page_and_the_generated_reference(site: Path) -> None:
    reference = site / "docs" / "site" / "reference"

    assert 'url=docs/site/"' in (site / "index.html").read_text(encoding="utf-8")
    assert "spec.resources.cpuRequest" in words_of(reference / "fields" / "index.html")
    assert "tuningjob bless" in words_of(reference / "cli" / "index.html")
    assert "/v1/namespaces/{namespace}" in words_of(reference / "http" / "index.html")
    assert "progress()" in words_of(reference / "python" / "index.html")
    pages = {path.relative_to(ROOT).with_suffix("") for path in (ROOT / "docs").glob("*.md")}
    assert not [page for page in pages if not (site / page / "index.html").exists()]


@pytest.mark.slow
def test_a_page_asks_nothing_of_another_host(site: Path) -> None:
    asked = set()
    for page in site.rglob("*.html"):
        asked |= set(re.findall(r'<(?:script|img|iframe|link)[^>]+(?:src|href)="(https?:[^"]+)"', page.read_text()))
    assert asked == set()
