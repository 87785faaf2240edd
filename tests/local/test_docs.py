"""docs/audit.md is true: its commands print the output that the page shows."""

import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC

from tests.local.commands import Ended, tuningjob
from tests.local.makers import Place, a_journal

PAGE = Path(__file__).parents[2] / "docs/audit.md"
ANYTHING = "…"


def blocks(heading: str, language: str) -> list[str]:
    """The fenced blocks below a heading of the page."""
    section = PAGE.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, flags=re.DOTALL)


def commands(block: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of a block, and the lines that the page shows for it."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, *lines = part.splitlines()
        yield command, lines


def masked(line: str) -> str:
    """Without what differs from run to run and from machine to machine: times, durations, processes."""
    line = re.sub(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)", "TIME", line)
    line = re.sub(r"[\d.]+ s\b", "SECONDS", line)
    line = re.sub(r"[\d.]+ +TIME", "SECONDS TIME", line)
    line = re.sub(r"^(duration_seconds) .*", r"\1", line)
    line = re.sub(r"in \d+ processes", "in PROCESSES", line)
    return " ".join(line.split())


def as_shown(lines: list[str], shown: list[str]) -> bool:
    """Whether the lines are those of the page; a line of the page that says "…" stands for any number."""
    pattern = "".join(r"(?:.*\n)*" if line == ANYTHING else re.escape(masked(line)) + r"\n" for line in shown)
    return re.fullmatch(pattern, "".join(f"{masked(line)}\n" for line in lines)) is not None


def ran(command: str, folder: Path, **environment: str) -> list[str]:
    """What a command printed, its complaints included."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=os.environ | {"PATH": path, "LOGNAME": "ada"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout.splitlines() + done.stderr.splitlines()


@pytest.mark.slow
def test_the_session_of_the_page_is_one_that_happened(
    tmp_path: Path, examples: Path, inside: Callable[..., Ended]
) -> None:
    (tmp_path / "examples").symlink_to(examples)
    for heading in ("On a laptop", "What is in use", "Files", "Only what is new"):
        for block in blocks(heading, "console"):
            for command, shown in commands(block):
                words = shlex.split(command)
                if words[:2] == ["tuningjob", "run"]:
                    # without its complaints: there is the progress
                    found = tuningjob(*words[1:], cwd=tmp_path, LOGNAME="ada").stdout.splitlines()
                elif words[0] == "tuningjob":  # a start of Python less; searches have their own
                    done = inside(*words[1:])
                    found = done.stdout.splitlines() + done.stderr.splitlines()
                else:
                    found = ran(command, tmp_path)
                assert as_shown(found, shown), "\n".join([command, *found])
    for query in blocks("The table", "sql"):
        with sqlite3.connect(tmp_path / "results/breast-cancer-svc/tuning.db") as database:
            rows = database.execute(query).fetchall()
        database.close()
        assert [row[:2] for row in rows] == [
            ("breast-cancer-svc", '{"svc__C": 10, "svc__gamma": 0.01, "svc__kernel": "rbf"}'),
            ("breast-cancer-svc", '{"svc__C": 0.1, "svc__kernel": "linear"}'),
        ]


@pytest.mark.slow
def test_the_requests_of_the_page_are_answered_as_it_shows(service_place: Place, tmp_path: Path) -> None:
    for params in ({"svc__C": 10, "svc__gamma": 0.01, "svc__kernel": "rbf"}, {"svc__C": 0.1, "svc__kernel": "linear"}):
        service_place.add("breast-cancer-svc", best_params=params)
    service_place.journal.audit.bless(namespace="team", model_key="breast-cancer-svc", version=1, who="ada")
    etag = ""
    for block in blocks("HTTP", "http"):
        for command, shown in commands(block):
            found = ran(command, tmp_path, TUNINGJOB_SERVER=service_place.options[1], ETAG=etag)
            assert as_shown(found, shown), "\n".join([command, *found])
            etag = etag or "".join(line.partition(": ")[2] for line in found if line.lower().startswith("etag: "))


@pytest.mark.slow
def test_what_the_page_reads_in_python_is_read(
    service_place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = ({"svc__C": {"float": 10}}, {"svc__class_weight": {"dict": [[0, 1], [1, 2]]}})
    with a_journal(tmp_path / "results/breast-cancer-svc") as journal_place:
        for place, namespace in ((journal_place, "default"), (service_place, "team")):
            for params in answers:
                place.add("breast-cancer-svc", namespace=namespace, best_params=params)
        journal_place.journal.audit.bless(namespace="default", model_key="breast-cancer-svc", version=1, who="ada")
    (tmp_path / "best_params.json").write_text(json.dumps(answers[0]))
    monkeypatch.chdir(tmp_path)
    names = {"pipeline": Pipeline([("svc", SVC())]), "json": json, "Path": Path}
    (block,) = blocks("In Python", "python")
    exec(block.replace("https://tuningjob.example.com", service_place.options[1]), names)
    assert repr(names["pipeline"].get_params()["svc"]) == "SVC(C=10.0)"


def test_every_column_of_the_table_is_told(service_place: Place) -> None:
    text = PAGE.read_text()
    with sqlite3.connect(service_place.folder / "tuning.db") as database:
        for table in ("hyperparameter_audit", "blessings", "best_hyperparameters"):
            for row in database.execute(f"pragma table_info({table})"):
                assert re.search(rf"\b{row[1]}\b", text), row[1]
    database.close()
