"""The cookbook's examples run, and give the answers that it tells."""

import json
from pathlib import Path

import pytest

from tests.conftest import EXAMPLES, ROOT
from tests.journal.template import ensure_journal
from tuningjob import local
from tuningjob.manifest import load_file
from tuningjob.search.stop import Stop

FOLDER = EXAMPLES / "cookbook"
PAGE = (ROOT / "docs" / "cookbook.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.yaml")))
def test_an_example_gives_the_answer_that_is_told(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    ensure_journal(tmp_path / "tuning.db")
    job = load_file(FOLDER / f"{name}.yaml")

    outcome = local.run(job, folder=FOLDER, output=tmp_path, stop=Stop())
    found, nested, baseline = outcome.results, outcome.answer.nested, outcome.answer.baseline

    told = PAGE.partition(f"[{name}.yaml]")[2].partition("\n## ")[0]
    manifest = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    assert f"```yaml\nspec:\n{manifest.partition('spec:')[2].strip()}" in told.replace("spec:\n  ", "spec:\n")
    assert f"Answer: `{json.dumps(found.best_params)} scores {found.best_score:.3f}`" in told
    assert baseline is not None
    assert f"`{baseline.told[0]}`" in told
    assert nested is None or nested.told[0] in told
