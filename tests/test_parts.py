"""The parts in which all tests are run: together they are all tests, and what fails in one is seen."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.parts import OTHERS, ROOT, commands, parts, run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three folders of tests: one that passes, one that fails, one of which ``-m`` leaves nothing. None needs a plugin."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    for name, text in {
        "good": "def test_it(): print('never shown')",
        "bad": "def test_it(): assert 'this' == 'that'",
        "slow": "import pytest\n@pytest.mark.slow\ndef test_it(): assert False",
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / f"test_{name}.py").write_text(text)
    return tmp_path


def test_the_parts_are_all_tests_each_once() -> None:
    every = sorted((ROOT / "tests").rglob("test_*.py"))
    found = parts(ROOT / "tests", ["engine", "service pod"])
    files = [
        file
        for paths in found.values()
        for path in paths
        for file in ([path] if path.is_file() else path.rglob("test_*.py"))
    ]
    assert sorted(files) == every
    assert list(found) == ["engine", "service pod", OTHERS]


def test_a_folder_that_no_part_names_is_in_the_last_one(folder: Path) -> None:
    assert parts(folder, ["good"]) == {"good": [folder / "good"], OTHERS: [folder / "bad", folder / "slow"]}


@pytest.mark.slow
def test_a_part_that_fails_is_shown_whole_and_the_others_in_a_line(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = run(
        commands(parts(folder, ["bad", "good"]), ["-m", "not slow"], logs=folder / "logs"),
        at_once=2,
        logs=folder / "logs",
    )
    told = capfd.readouterr().out
    assert code == 1
    assert "AssertionError: assert 'this' == 'that'" in told
    assert "FAILED bad: 1 failed" in told
    assert "\ngood: 1 passed" in told
    assert "never shown" not in told
    assert told.splitlines()[-1].endswith("FAILED: bad")


@pytest.mark.slow
def test_parts_that_pass_or_are_left_empty_are_well(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    chosen = {"good": [folder / "good"], "slow": [folder / "slow"]}
    assert run(commands(chosen, ["-m", "not slow"], logs=folder / "logs"), at_once=1, logs=folder / "logs") == 0
    assert capfd.readouterr().out.splitlines()[-1].endswith("all well")


@pytest.mark.slow
def test_who_ends_it_ends_its_parts_and_begins_no_more(folder: Path) -> None:
    (folder / "good" / "test_good.py").write_text(
        "import pathlib, time\n\ndef test_it():\n"
        f"    pathlib.Path({str(folder / 'began')!r}).touch()\n"
        f"    try:\n        time.sleep(600)\n    finally:\n        pathlib.Path({str(folder / 'ended')!r}).touch()\n"
    )
    script = f"""
import sys
from pathlib import Path
from tests.parts import commands, run
folder = Path({str(folder)!r})
chosen = commands({{"good": [folder / "good"], "bad": [folder / "bad"]}}, logs=folder / "logs")
sys.exit(run(chosen, at_once=1, logs=folder / "logs"))
"""
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    deadline = time.monotonic() + 60
    while not (folder / "began").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 1
    assert (folder / "ended").exists()
    assert not (folder / "logs" / "bad.log").read_bytes()


@pytest.mark.slow
def test_a_test_that_fails_only_beside_others_is_well_and_named_and_no_other_is_run_again(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ran = folder / "ran"
    (folder / "good" / "test_good.py").write_text(
        "import pathlib\n"
        f"ran = pathlib.Path({str(ran)!r})\n"
        "def note(name):\n    with ran.open('a') as file: file.write(name + '\\n')\n"
        "def test_steady(): note('steady')\n"
        "def test_hasty():\n    note('hasty')\n    assert ran.read_text().count('hasty') == 2\n"
    )
    logs = folder / "logs"
    chosen = commands({"good": [folder / "good"]}, logs=logs)
    assert run(chosen, at_once=1, again=True, logs=logs) == 0
    assert sorted(ran.read_text().split()) == ["hasty", "hasty", "steady"]
    told = capfd.readouterr().out
    assert "failed beside others, passed by itself: " in told
    assert "test_hasty" in told.splitlines()[-2]
    assert told.splitlines()[-1].endswith("all well")


@pytest.mark.slow
def test_a_test_that_fails_by_itself_too_is_a_failure(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    logs = folder / "logs"
    assert run(commands({"bad": [folder / "bad"]}, logs=logs), at_once=1, again=True, logs=logs) == 1
    told = capfd.readouterr().out
    assert "FAILED bad again: 1 failed" in told
    assert "passed by itself" not in told


@pytest.mark.slow
def test_a_part_in_which_much_fails_is_not_run_again(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "bad" / "test_bad.py").write_text(
        "import pytest\n@pytest.mark.parametrize('n', range(13))\ndef test_it(n): assert False"
    )
    logs = folder / "logs"
    assert run(commands({"bad": [folder / "bad"]}, logs=logs), at_once=1, again=True, logs=logs) == 1
    assert "bad again" not in capfd.readouterr().out


@pytest.mark.slow
def test_a_module_that_cannot_be_imported_stays_a_failure(folder: Path) -> None:
    (folder / "bad" / "test_bad.py").write_text("import nothing_of_this_name")
    logs = folder / "logs"
    assert run(commands({"bad": [folder / "bad"]}, logs=logs), at_once=1, again=True, logs=logs) == 1


PYTHON = (sys.executable, "-c")


@pytest.mark.slow
def test_what_needs_no_deps_runs_while_they_are_made_and_the_rest_afterwards(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.parts._A_MOMENT", 0.1)
    waits = f"import pathlib, time\nwhile not pathlib.Path({str(tmp_path / 'free')!r}).exists(): time.sleep(0.01)\n"
    deps = (*PYTHON, f"{waits}pathlib.Path({str(tmp_path / 'made')!r}).touch()")
    chosen = {
        "needy": (*PYTHON, f"import pathlib; assert pathlib.Path({str(tmp_path / 'made')!r}).exists()"),
        "free": (*PYTHON, f"import pathlib; pathlib.Path({str(tmp_path / 'free')!r}).touch()"),
    }
    assert run(chosen, at_once=1, deps=deps, without_deps={"free"}, logs=tmp_path / "logs") == 0
    assert "2 parts" in capfd.readouterr().out


def test_without_its_deps_a_part_does_not_run_and_is_a_failure(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    chosen = {"needy": (*PYTHON, "print('never')"), "free": (*PYTHON, "")}
    deps = (*PYTHON, "raise SystemExit('no compiler')")
    assert run(chosen, at_once=2, deps=deps, without_deps={"free"}, logs=tmp_path / "logs") == 1
    told = capfd.readouterr().out
    assert "no compiler" in told
    assert told.splitlines()[-1].endswith("FAILED: needy")
    assert not (tmp_path / "logs" / "needy.log").exists()


@pytest.mark.slow
def test_what_still_runs_after_the_time_is_ended_and_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    chosen = {"endless": (*PYTHON, "import time\nprint('so far', flush=True)\nwhile True: time.sleep(0.1)")}
    assert run(chosen, at_once=1, within=3, logs=tmp_path / "logs") == 1
    told = capfd.readouterr().out
    assert "so far" in told
    assert "KeyboardInterrupt" in told
