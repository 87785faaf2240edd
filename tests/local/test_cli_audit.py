"""`tuningjob models | history | diff | params | blessings | bless | rollback`, on a laptop's journal and through the service."""

import json
import math
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.local.commands import Ended, written
from tests.local.makers import Place, a_journal

pytestmark = pytest.mark.slow

Ask = Callable[..., Ended]


def said(ended: Ended) -> str:
    """What a command that was refused said, which is all that it did."""
    assert ended.returncode == 2, ended.stderr
    assert ended.stdout == ""
    return ended.stderr.strip()


# --- what there is


def test_models_are_listed(place: Place, ask: Ask) -> None:
    place.add("svc")
    place.add("forest")
    place.add("hidden", namespace="other")
    assert ask("models") == Ended(0, "forest\nsvc\n", "")
    assert json.loads(ask("models", "--json").stdout) == ["forest", "svc"]


def test_where_nothing_has_finished_there_are_no_models(ask: Ask) -> None:
    assert ask("models") == Ended(0, "", "No search has finished here yet.\n")
    assert ask("models", "--json") == Ended(0, "[]\n", "")


def test_the_history_is_a_row_for_each_version_with_the_one_in_use_marked(place: Place, ask: Ask) -> None:
    place.add(best_params={"C": 1, "kernel": "rbf"}, best_score=0.9, best_std=0.01)
    place.add(best_params={"C": 10.5, "gamma": None}, best_score=0.95, best_std=0.002, failed_fits=1)
    ask("bless", "forest", 2)
    assert ask("history", "forest").stdout == (
        "version  in use  score            metric            fits  seconds  finished              by   parameters\n"
        "      1          0.9000 ± 0.0100  accuracy             1     90.0  2026-03-01 12:01:30Z  ada  C=1 kernel=rbf\n"
        "      2  ✓       0.9500 ± 0.0020  accuracy  1 (1 failed)     90.0  2026-03-01 12:03:00Z  ada  C=10.5 gamma=None\n"
    )


def test_the_history_for_machines_is_all_that_is_known(place: Place, ask: Ask) -> None:
    place.add(preflight={"split_digest": "s" * 32, "seed": '{"random_state": 0}'})
    (row,) = json.loads(ask("history", "forest", "--json").stdout)
    assert (row["model_key"], row["version"], row["search_id"]) == ("forest", 1, "search-1")
    assert (row["split_digest"], row["seed"], row["created_by"]) == ("s" * 32, '{"random_state": 0}', "ada")
    assert row["versions"] == {"scikit-learn": "1.9.1"}


def test_a_score_that_is_no_number_is_told_as_such(place: Place, ask: Ask) -> None:
    place.add(best_score=math.nan, best_std=math.nan)
    place.add(best_score=math.nan, best_std=math.nan)
    assert "  NaN  " in ask("history", "forest").stdout
    assert json.loads(ask("history", "forest", "--json").stdout)[0]["score"] == "NaN"
    assert ask("diff", "forest", 1, 2).stdout == "forest: versions 1 and 2 are the same.\n"


def test_a_long_history_has_a_line_for_each_version(journal_place: Place, inside: Callable[..., Ended]) -> None:
    journal_place.add()
    with sqlite3.connect(journal_place.folder / "tuning.db") as database:
        columns = [row[1] for row in database.execute("pragma table_info(hyperparameter_audit)")]
        others = ", ".join(column for column in columns if column != "version")
        database.executemany(
            f"insert into hyperparameter_audit (version, {others}) select ?, {others} from hyperparameter_audit where version = 1",
            [(version,) for version in range(2, 2_001)],
        )
    database.close()
    lines = inside("history", "forest", *journal_place.options).stdout.splitlines()
    assert len(lines) == 2_001
    assert lines[-1].startswith("   2000  ")


def test_what_others_wrote_is_shown_as_text_and_cannot_command_a_terminal(place: Place, ask: Ask) -> None:
    place.add(
        best_params={"[bold]p[/bold]": "a\x1b[2Jb", "estimator": {"class": "sklearn.svm.SVC", "params": {"C": 1.0}}}
    )
    ask("bless", "forest", 1, "--why", "so [red]good[/red] :smile: \x1b]0;owned\x07\nnext")
    assert "[bold]p[/bold]=a�[2Jb estimator=SVC(C=1.0)" in ask("history", "forest").stdout
    assert "so [red]good[/red] :smile: �]0;owned��next" in ask("blessings", "forest").stdout


# --- what differs


def test_a_diff_shows_what_two_versions_differ_in_and_nothing_else(place: Place, ask: Ask) -> None:
    place.add(best_params={"C": 1, "kernel": "rbf", "gamma": 0.1}, preflight={"data_digest": "d" * 64})
    place.add(
        best_params={"C": 1.0, "kernel": "rbf", "degree": 3},
        best_score=0.95,
        preflight={"data_digest": "e" * 64, "versions": {"scikit-learn": "1.9.2"}},
    )
    assert ask("diff", "forest", 1, 2).stdout == (
        "                       version 1     version 2\n"
        "params.C               1             1.0\n"
        "params.gamma           0.1           —\n"
        "score                  0.9           0.95\n"
        "data_digest            dddddddddddd  eeeeeeeeeeee\n"
        "versions.scikit-learn  1.9.1         1.9.2\n"
        "params.degree          —             3\n"
    )


def test_a_diff_of_two_metrics_says_so_at_each_score_and_that_of_two_grids_what_was_searched(
    iris_forest: dict[str, Any], tmp_path: Path, inside: Callable[..., Ended]
) -> None:
    spec = iris_forest["spec"]
    spec["estimator"] = {"class": "sklearn.tree.DecisionTreeClassifier", "params": {"random_state": 0}}
    for scoring, depths in (("f1_macro", [1, 2]), ("recall_macro", [2, 3, 4])):
        spec["scoring"] = scoring
        spec["search"]["grid"]["parameters"] = {"max_depth": depths}
        assert inside("run", written(iris_forest, tmp_path)).returncode == 0
    told = inside("diff", "iris-forest", 1, 2).stdout
    (score,) = (line for line in told.splitlines() if line.startswith("score "))
    assert re.fullmatch(r"score +0\.\d+ \(f1_macro\) +0\.\d+ \(recall_macro\)", score)
    assert re.search(r"^spec\.search\.grid\.parameters\.max_depth +\[1, 2\] +\[2, 3, 4\]$", told, re.MULTILINE)
    assert "spec.estimator" not in told


def test_a_diff_for_machines_leaves_out_what_a_version_has_not(place: Place, ask: Ask) -> None:
    place.add(best_params={"C": 1})
    place.add(best_params={"gamma": 2})
    found = json.loads(ask("diff", "forest", 1, 2, "--json").stdout)
    assert found == {"params.C": {"before": 1}, "params.gamma": {"after": 2}}


# --- what is in use


def test_params_are_those_in_use_as_json_and_nothing_else(place: Place, ask: Ask) -> None:
    place.add(best_params={"b": [1, 2], "a": None})
    place.add(best_params={"a": 5})
    ask("bless", "forest", 1)
    assert ask("params", "forest") == Ended(0, '{\n  "a": null,\n  "b": [\n    1,\n    2\n  ]\n}\n', "")
    assert json.loads(ask("params", "forest", "--version", 2).stdout) == {"a": 5}


def untimed(text: str) -> str:
    """A laptop's clock is the wall's."""
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "2026-03-01 12:04:30Z", text)


def test_blessing_and_rolling_back_say_what_is_in_use_then(place: Place, ask: Ask) -> None:
    for _ in range(3):
        place.add()
    done = untimed(ask("bless", "forest", 1).stdout)
    assert done == "forest: version 1 is in use, by ada at 2026-03-01 12:04:30Z.\n"
    want = "forest: version 3 is in use instead of 1, by ada at 2026-03-01 12:04:30Z.\n"
    assert untimed(ask("bless", "forest", 3, "--why", "better recall").stdout) == want
    assert untimed(ask("bless", "forest", 3).stdout) == want  # again: nothing changes
    done = untimed(ask("rollback", "forest", "--why", "too slow").stdout)
    assert done == "forest: version 1 is in use instead of 3, by ada at 2026-03-01 12:04:30Z.\n"
    assert untimed(ask("blessings", "forest").stdout) == (
        "when                  what      from  to  who  why\n"
        "2026-03-01 12:04:30Z  bless        —   1  ada\n"
        "2026-03-01 12:04:30Z  bless        1   3  ada  better recall\n"
        "2026-03-01 12:04:30Z  rollback     3   1  ada  too slow\n"
    )
    whys = [each["why"] for each in json.loads(ask("blessings", "forest", "--json").stdout)]
    assert whys == ["", "better recall", "too slow"]


def test_what_was_done_is_told_to_machines_too(place: Place, ask: Ask) -> None:
    place.add()
    place.add()
    assert json.loads(ask("bless", "forest", 1, "--json").stdout)["to_version"] == 1
    ask("bless", "forest", 2)
    done = json.loads(ask("rollback", "forest", "--json").stdout)
    assert (done["act"], done["from_version"], done["to_version"], done["who"]) == ("rollback", 2, 1, "ada")


# --- what cannot be


def test_an_unknown_key_is_told_as_such(place: Place, ask: Ask) -> None:
    place.add("svc")
    for command in ("history", "params", "blessings", "rollback", "download"):
        assert said(ask(command, "forest")).startswith(
            "model key: must be one of namespace team with a finished search, but got 'forest'."
        )


def test_a_version_that_is_not_there_is_told_with_those_that_are(place: Place, ask: Ask) -> None:
    place.add()
    place.add()
    for command in ("bless forest 3", "params forest --version 3", "diff forest 1 3"):
        assert said(ask(*command.split())) == "version of forest: must be from 1 to 2, but got 3."


def test_where_nothing_is_in_use_it_is_told_how_to_change_that(place: Place, ask: Ask) -> None:
    place.add()
    place.add()
    for command in ("params", "download"):
        assert said(ask(command, "forest")) == (
            "forest: must have a version in use, but none was ever blessed. Bless one first. "
            "As in `tuningjob bless forest 2`; or name one by --version."
        )
    assert ask("blessings", "forest").stdout == "forest: no version was ever blessed.\n"


def test_there_is_no_way_back_from_the_first_version_in_use(place: Place, ask: Ask) -> None:
    place.add()
    assert "but got none" in said(ask("rollback", "forest"))
    ask("bless", "forest", 1)
    assert "but got only version 1" in said(ask("rollback", "forest"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["history", "../forest"],
            "KEY: must be a model key (letters, digits, '-', '_' and '.'), but got '../forest'.",
        ),
        (["params", ""], "KEY: must be a model key"),
        (["params", "k" * 300], "KEY: must be a model key"),
        (["bless", "forest", "zero"], "'zero' is not a valid integer range"),
        (["bless", "forest", "0"], "0 is not in the range 1<=x<=2147483647"),
        (["params", "forest", "--version", "9" * 30], "is not in the range 1<=x<=2147483647"),
        (["bless", "forest", "1", "--why", "x" * 1_025], "--why: must be of at most 1,024 characters, but got 1,025."),
        (["diff", "forest", "1"], "Missing argument 'AFTER'"),
        (["download", "forest", "--only", "mode.joblib"], "--only: must be one of best_params.json, verdict.txt, "),
    ],
)
def test_bad_use_exits_2_with_a_sentence(inside: Callable[..., Ended], arguments: list[str], message: str) -> None:
    assert message in said(inside(*arguments))


# --- a journal of this machine


def test_the_journal_is_looked_for_where_run_puts_it(tmp_path: Path, inside: Callable[..., Ended]) -> None:
    with a_journal(tmp_path / "results/forest") as place:
        place.add(namespace="default")
    with a_journal(tmp_path / "results/svc") as place:
        place.add("svc", namespace="default")
    assert inside("history", "forest").returncode == 0
    assert inside("models").stdout == "forest\nsvc\n"


def test_a_journal_that_is_not_there_is_not_made(tmp_path: Path, inside: Callable[..., Ended]) -> None:
    for arguments in (
        ["history", "forest"],
        ["bless", "forest", "1"],
        ["params", "forest", "--journal", "sqlite:///results/x.db"],
    ):
        message = said(inside(*arguments))
        assert message.startswith("Error: --journal: must be a journal that is there, but got results/")
        assert message.endswith(
            "Name another by --journal PATH, or a results service by --server URL (or $TUNINGJOB_SERVER)."
        )
    assert said(inside("models")).startswith(
        "Error: --journal: must be named, but got none, and there is no results/*/tuning.db here."
    )
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("content", "got"),
    [(b"no database at all, but long enough to look", "file is not a database"), (b"", "which is none")],
)
def test_a_file_that_is_no_journal_is_left_as_it_is(
    tmp_path: Path, inside: Callable[..., Ended], content: bytes, got: str
) -> None:
    (tmp_path / "other.db").write_bytes(content)
    assert f"but got other.db, {got}." in said(inside("history", "forest", "--journal", "other.db"))
    assert (tmp_path / "other.db").read_bytes() == content


@pytest.mark.parametrize(
    ("journal", "message"),
    [
        ("sqlite+pysqlite:///x", "but got x, where there is none."),
        ("sqlite:///x?mode=rwc", "but got sqlite:///x?mode=rwc, which is no URL of a file: that is sqlite:///PATH."),
        ("sqlite://", "but got sqlite://, which is no URL of a file"),
        ("sqlite:x", "but got sqlite:x, which is no URL of a file"),
        ("sqlite+aiosqlite:///x", "which is no URL of a file"),
        ("sqlite+pysqlite:///.", "but got ., which is a folder."),
        ("n" * 300, "file name too long."),
        ("folder/x", "but got folder/x, where there is none."),
        ("mysql://host/x", "must be sqlite:///file or postgresql://user:password@host:port/name, but got mysql://…."),
        ("postgresql://host:port/x", "must be sqlite:///file or postgresql://"),
    ],
)
def test_a_url_that_is_of_no_journal_makes_nothing_and_exits_2(
    tmp_path: Path, inside: Callable[..., Ended], journal: str, message: str
) -> None:
    for command in (["models"], ["params", "forest"]):
        said_of_it = said(inside(*command, "--journal", journal))
        assert message in said_of_it
        assert said_of_it.startswith("Error: --journal: ")
    assert list(tmp_path.iterdir()) == []


def test_another_programs_database_is_left_as_it_is(tmp_path: Path, inside: Callable[..., Ended]) -> None:
    with sqlite3.connect(tmp_path / "other.db") as database:
        database.execute("create table recipes (name)")
    database.close()
    before = (tmp_path / "other.db").read_bytes()
    assert "but got other.db, which is none." in said(inside("history", "forest", "--journal", "other.db"))
    assert (tmp_path / "other.db").read_bytes() == before
    assert "but got ., which is a folder." in said(inside("history", "forest", "--journal", "."))


def test_another_namespace_is_told_of_where_the_key_is_not_in_this_one(
    journal_place: Place, inside: Callable[..., Ended]
) -> None:
    journal_place.add()
    journal = ["--journal", journal_place.folder / "tuning.db"]
    assert said(inside("history", "forest", *journal)).endswith("Another namespace is named by -n NAMESPACE.")
    assert said(inside("history", "tree", *journal, "-n", "team")).endswith("but got 'tree'. There are: forest.")
