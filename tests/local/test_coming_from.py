"""The pages for beginners, from another tool or none: every block of ours does what its page says; theirs are marked as sketches."""

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.journal.template import ensure_journal
from tests.local.commands import tuningjob
from tests.truth import assert_equal_to_the_bit, sklearn_search_of
from tuningjob import local
from tuningjob.manifest import load
from tuningjob.manifest.canonical import read_yaml
from tuningjob.search.stop import Stop

FILES = (ROOT / "docs/start.md", *sorted((ROOT / "docs/coming-from").glob("*.md")))
PAGES = {page.stem: page.read_text(encoding="utf-8") for page in FILES}
SKETCH = "<!-- sketch -->\n"


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page that are no sketches of another tool's."""
    found = re.findall(rf"({SKETCH})?```{language}\n(.*?)```", PAGES[page], flags=re.DOTALL)
    return [block for sketch, block in found if not sketch]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_the_manifest_of_a_page_is_scikit_learns_search_to_the_bit(page: str, tmp_path: Path) -> None:
    (manifest,) = blocks(page, "yaml")
    job = load(read_yaml(manifest))
    ensure_journal(tmp_path / "tuning.db")

    found = local.run(job, folder=tmp_path, output=tmp_path, stop=Stop()).results

    _, truth = sklearn_search_of(job.spec)
    assert found.best_params == truth.best_params_
    assert_equal_to_the_bit(found.cv_results, truth.cv_results_)


def test_a_block_of_python_is_this_projects_or_a_sketch() -> None:
    assert {page: len(blocks(page, "python")) for page in PAGES} == {**dict.fromkeys(PAGES, 0), "gridsearchcv": 1}


@pytest.mark.slow
def test_the_script_of_the_first_page_becomes_its_manifest_and_finds_the_same(tmp_path: Path) -> None:
    (script,), (manifest,) = blocks("gridsearchcv", "python"), blocks("gridsearchcv", "yaml")
    (tmp_path / "script.py").write_text(script, encoding="utf-8")
    command = re.search(r"\$ tuningjob (manifest script.py:search --data) '(.*)' > ", PAGES["gridsearchcv"])
    assert command is not None

    printed = tuningjob(*command[1].split(), command[2], cwd=tmp_path)

    assert (printed.returncode, printed.stderr) == (0, "")
    assert load(read_yaml(printed.stdout)).spec == load(read_yaml(manifest)).spec
