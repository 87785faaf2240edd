from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.local.commands import Ended
from tests.local.makers import Place, a_journal, a_service
from tuningjob.cli.command import main


@pytest.fixture(autouse=True)
def _nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the developer's own kubeconfig and token from the tests."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LOGNAME", "ada")
    for name in ("KUBECONFIG", "TUNINGJOB_SERVER", "TUNINGJOB_TOKEN", "TUNINGJOB_CA_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """The command in this process, below ``tmp_path``: a start of Python and scikit-learn less."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Ended:
        code = int(main([str(argument) for argument in arguments]))
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return run


@pytest.fixture
def journal_place(tmp_path: Path) -> Iterator[Place]:
    with a_journal(tmp_path / "journal") as place:
        yield place


@pytest.fixture
def service_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with a_service(tmp_path / "service") as place:
        monkeypatch.setenv("TUNINGJOB_TOKEN", place.token)
        yield place


@pytest.fixture(params=["journal", "service"])
def place(request: pytest.FixtureRequest) -> Place:
    """The memory of namespace team: in a journal of this machine, and behind the results service."""
    found: Place = request.getfixturevalue(f"{request.param}_place")
    return found


@pytest.fixture
def ask(inside: Callable[..., Ended], place: Place) -> Callable[..., Ended]:
    """The command, asked of ``place``."""
    return lambda *arguments: inside(*arguments, *place.options)
