"""Every block of code in the documentation is true: it is run or checked here, run by the test that its page has, or marked a sketch.

What is between the fences of no language, of ``text``, ``json``, ``http`` and ``mermaid`` is output or a picture. Of a console's block the
commands that are ours are parsed, and those of ``make`` and ``helm`` looked up; ``kubectl``'s are
typed at a cluster by the test that ``TYPED_BY`` names.
"""

import re
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import click
import pytest
import sklearn
import yaml
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer

from tests.documents import Block, blocks_of
from tests.journal.template import ensure_journal
from tuningjob import GridSearchCV
from tuningjob.cli.command import cli
from tuningjob.manifest import load
from tuningjob.manifest.canonical import read_yaml
from tuningjob.manifest.models import TuningJobSpec

ROOT: Final = Path(__file__).parents[2]
CHART: Final = "charts/tuningjob/README.md"
PAGES: Final = [
    *("README.md", "CONTRIBUTING.md", CHART, "examples/serving/README.md"),
    *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md")),
]
SKETCH, VALUES = "sketch", "values"
NO_CODE: Final = frozenset({"", "text", "json", "http", "mermaid"})
# Their Python is run by the tests of their own.
RUN_BY: Final = {
    "docs/artifacts.md": "tests/search/test_files.py",
    "docs/audit.md": "tests/local/test_docs.py",
    "docs/coming-from/gridsearchcv.md": "tests/local/test_coming_from.py",
}
# Their kubectl and helm are typed by tests of the cluster.
TYPED_BY: Final = {
    **dict.fromkeys(
        [
            *("README.md", CHART, "examples/serving/README.md", "docs/audit.md", "docs/cluster.md"),
            *("docs/coming-from/gridsearchcv.md", "docs/observability.md", "docs/report.md", "docs/start.md"),
        ],
        "tests/cluster/test_pages.py",
    ),
    "docs/database.md": "tests/cluster/test_restore.py",
}
# What a block leaves out because others on its page say it.
REST: Final[dict[str, Any]] = {
    "estimator": {"class": "sklearn.svm.SVC"},
    "search": {"grid": {"parameters": {"C": [1, 10]}}},
    "data": {"path": "churn.csv", "target": "churned"},
}


BLOCKS: Final = [block for page in PAGES for block in blocks_of(page) if block.mark != SKETCH]


def of(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


def test_each_block_is_of_a_language_that_is_looked_at() -> None:
    assert len(BLOCKS) > 90
    assert {str(block): block.language for block in BLOCKS if block.language not in NO_CODE | LOOKED_AT} == {}


# --- YAML


@pytest.mark.parametrize("block", of("yaml"), ids=str)
def test_each_document_is_a_manifest_or_a_part_of_one_or_values_of_the_chart(block: Block) -> None:
    for text in block.text.split("\n---\n"):
        document = read_yaml(text)
        assert isinstance(document, dict)
        if block.mark == VALUES or block.page == CHART:
            defaults = yaml.safe_load((ROOT / "charts/tuningjob/values.yaml").read_text(encoding="utf-8"))
            assert list(unknown_to(document, defaults)) == []
        else:
            assert load(whole(document)).spec


def whole(document: dict[str, Any]) -> dict[str, Any]:
    """The manifest of which this is all, the spec, some fields of that, or the parameters of its grid."""
    if "apiVersion" in document:
        return document
    spec = document.get("spec", document)
    if not spec.keys() & {field.alias or name for name, field in TuningJobSpec.model_fields.items()}:
        spec = {"search": {"grid": {"parameters": spec}}}
    return {
        "apiVersion": "tuningjob.dev/v1alpha1",
        "kind": "TuningJob",
        "metadata": {"name": "shown"},
        "spec": {**REST, **spec},
    }


def unknown_to(values: dict[str, Any], defaults: dict[str, Any], at: str = "") -> Iterator[str]:
    for name, value in values.items():
        if name not in defaults:
            yield f"{at}{name}"
        elif isinstance(value, dict) and isinstance(defaults[name], dict) and defaults[name]:
            yield from unknown_to(value, defaults[name], f"{at}{name}.")


# --- commands


def commands(block: Block) -> list[list[str]]:
    """The words of each command, without what comes after a pipe, a semicolon or a redirection."""
    found = []
    for command in block.commands:
        lexer = shlex.shlex(command.replace("\\\n", " "), posix=True, punctuation_chars="|;&><")
        lexer.whitespace_split = True
        words = list(lexer)
        ends = [at for at, word in enumerate(words) if set(word) <= set("|;&><")]
        found.append(words[: min(ends, default=len(words))])
    return found


TYPED: Final = [
    pytest.param(words, id=f"{block}: {' '.join(words)[:60]}")
    for block in of("console")
    for words in commands(block)
    if words
]


@pytest.mark.parametrize("words", TYPED)
def test_a_command_that_is_shown_is_one_that_there_is(words: list[str]) -> None:
    match words:
        case ["tuningjob", *rest] | ["kubectl", "tuningjob", *rest]:
            group = click.Context(cli, info_name="tuningjob")
            name, command, given = cli.resolve_command(group, rest)
            assert command is not None
            command.make_parser(click.Context(command, info_name=name, parent=group)).parse_args(list(given))
        case ["make", *targets]:
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            for target in (each for each in targets if "=" not in each):
                assert re.search(rf"^(\.PHONY:.*\s)?{re.escape(target)}[: ]", makefile, re.MULTILINE), target
        case ["helm", ("install" | "upgrade"), *rest]:
            defaults = yaml.safe_load((ROOT / "charts/tuningjob/values.yaml").read_text(encoding="utf-8"))
            for key in re.findall(r"--set(?:-string|-file)? ([\w.]+)", " ".join(rest)):
                value: Any = defaults
                for part in key.split("."):
                    assert part in value, key
                    value = value[part]


def test_what_is_typed_at_a_cluster_is_typed_by_the_test_of_its_page() -> None:
    pages = {
        block.page
        for block in of("console")
        if any(words[0] in {"kubectl", "helm"} for words in commands(block) if words)
    }
    assert pages == set(TYPED_BY)
    for page, test in TYPED_BY.items():
        assert page.removeprefix("docs/") in (ROOT / test).read_text(encoding="utf-8"), page


# --- Python and SQL


def test_python_is_run_here_or_by_the_test_of_its_page() -> None:
    for page, test in RUN_BY.items():
        assert Path(page).name in (ROOT / test).read_text(encoding="utf-8") or "coming-from" in page
    here = [block for block in of("python") if block.page not in RUN_BY]
    assert here
    X, y = load_breast_cancer(return_X_y=True)
    for block in here:
        names: dict[str, Any] = {
            "sklearn": sklearn,
            "get_scorer": get_scorer,
            "LogisticRegression": LogisticRegression,
            "GridSearchCV": GridSearchCV,
            "grid": {"C": [0.1, 1.0]},
            "X": X[:60] / X.max(axis=0),
            "y": y[:60],
            "revenue": X[:60, 0],
        }
        exec(compile(block.text, str(block), "exec"), names)


@pytest.mark.parametrize("block", of("sql"), ids=str)
def test_a_query_that_is_shown_is_one_for_the_journals_schema(block: Block, tmp_path: Path) -> None:
    ensure_journal(tmp_path / "tuning.db")
    with closing(sqlite3.connect(tmp_path / "tuning.db")) as database:
        for statement in block.text.split(";"):
            if statement.strip() and "-- Postgres" not in statement and not statement.strip().startswith("GRANT"):
                database.execute(statement).fetchall()


LOOKED_AT: Final = frozenset({"yaml", "console", "python", "sql"})
