"""The leaderboard is for people: short, in the width that there is, with the train scores that were asked for."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.local.commands import TUNINGJOB, Ended, written
from tuningjob.cli.console import print_table


@pytest.fixture
def choice(iris_forest: dict[str, Any]) -> dict[str, Any]:
    """Twelve candidates of two models."""
    forest = {"class": "sklearn.ensemble.RandomForestClassifier", "params": {"random_state": 0, "n_estimators": 2}}
    grid = [
        {
            "model": [{"class": "sklearn.svm.SVC", "params": {"C": 2}}, {"class": "sklearn.svm.SVC"}],
            "model__tol": [0.001, 0.01, 0.1],
        },
        {"model": [forest], "model__max_depth": [None, 1, 2], "model__criterion": ["gini", "entropy"]},
    ]
    iris_forest["metadata"]["name"] = "choice"
    iris_forest["spec"] |= {
        "estimator": {"pipeline": [{"name": "model", "class": "passthrough"}]},
        "search": {"grid": {"parameters": grid}},
        "returnTrainScore": True,
        "scoring": "accuracy",
    }
    return iris_forest


@pytest.mark.slow
def test_an_estimator_is_its_name_and_what_it_was_given(
    choice: dict[str, Any], tmp_path: Path, inside: Callable[..., Ended]
) -> None:
    done = inside("run", written(choice, tmp_path))
    assert done.returncode == 0, done.stderr
    title, columns, *rows = done.stdout.splitlines()[:12]
    assert title == "Best of 12 candidates (accuracy), 10 of 12 shown"
    assert columns.split() == [
        "rank",
        "candidate",
        "mean",
        "std",
        "train",
        "gap",
        "risky",
        "fit",
        "s",
        "model",
        "model__tol",
        "model__criterion",
        "model__max_depth",
    ]
    assert all(
        " SVC " in row or " SVC(C=2) " in row or " RandomForestClassifier(n_estimators=2, random_state=0) " in row
        for row in rows
    )
    assert max(map(len, rows)) < 170
    board = pd.read_csv(tmp_path / "results/choice/leaderboard.csv", keep_default_na=False)
    assert set(board["param_model"]) == {"SVC", "SVC(C=2)", "RandomForestClassifier(n_estimators=2, random_state=0)"}
    assert set(board["param_model__max_depth"]) == {"", "None", "1", "2"}
    found = board["mean_train_score"] - board["mean_test_score"]
    assert found.tolist() == board["gap"].tolist()
    assert board["rank_test_score"].is_monotonic_increasing


@pytest.mark.slow
def test_in_a_terminal_no_line_is_wider_than_it(choice: dict[str, Any], tmp_path: Path) -> None:
    path = written(choice, tmp_path)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 72, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
    process = subprocess.Popen(
        [*TUNINGJOB, "run", str(path)],
        cwd=tmp_path,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env={**environment, "TERM": "xterm"},
    )
    os.close(theirs)
    text = b""
    try:
        while piece := os.read(ours, 4096):
            text += piece
    except OSError:  # the terminal is closed: that is how its end is told
        pass
    os.close(ours)
    assert process.wait(timeout=60) == 0
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text.decode()).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("Best of 12"))
    table = lines[start + 1 : start + 12]
    assert max(map(len, table)) <= 72
    assert any("…" in line for line in table)


def table(capsys: pytest.CaptureFixture[str], width: int | None) -> tuple[int, list[str]]:
    hidden = print_table(
        ["rank", "model", "C", "gamma"],
        [["1", "SVC(" + "x" * 100 + ")", "0.1", "scale"], ["2", "SVC", "10", "auto"]],
        right={"C"},
        width=width,
    )
    return hidden, capsys.readouterr().out.splitlines()


def test_without_a_width_nothing_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    hidden, lines = table(capsys, None)
    assert (hidden, max(map(len, lines))) == (0, 4 + 2 + 105 + 2 + 3 + 2 + 5)


@pytest.mark.parametrize("width", [30, 60, 121])
def test_the_widest_column_gives_way(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    hidden, lines = table(capsys, width)
    assert (hidden, max(map(len, lines))) == (0, width)
    assert lines[1].endswith("…  0.1  scale")
    assert lines[2].startswith("2     SVC  ")


def test_what_has_no_room_at_all_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    hidden, lines = table(capsys, 20)
    assert (hidden, lines) == (1, ["rank  model       C", "1     SVC(xxx…  0.1", "2     SVC        10"])
