"""Which place a command asks, as whom, and what it says where it cannot."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.journal.makers import Clock
from tests.local.commands import Ended
from tests.local.makers import Place
from tests.servers.postgres import Postgres
from tuningjob.cli.source import user
from tuningjob.journal.sql import SqlJournal
from tuningjob.remote.kubeconfig import KubeconfigRefused, KubeContext, current_context

Inside = Callable[..., Ended]


def a_kubeconfig(path: Path, **changes: Any) -> Path:
    document = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"user": "ada", "namespace": "team", "cluster": "c"}}],
        "users": [{"name": "ada", "user": {"token": "token-of-ada"}}],
    } | changes
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(document))
    return path


# --- the kubeconfig


def test_the_current_context_tells_namespace_and_token(tmp_path: Path) -> None:
    a_kubeconfig(tmp_path / ".kube/config")
    assert current_context({}, tmp_path) == KubeContext("here", "team", "token-of-ada")


def test_of_several_files_the_first_that_sets_a_thing_wins_and_missing_ones_are_passed_over(tmp_path: Path) -> None:
    a_kubeconfig(tmp_path / ".kube/config", **{"current-context": "unread"})
    first = a_kubeconfig(tmp_path / "1", **{"current-context": "", "contexts": None})
    second = a_kubeconfig(tmp_path / "2", users=[{"name": "ada", "user": {"token": "later"}}])
    environment = {"KUBECONFIG": f"{tmp_path / 'missing'}:{first}::{second}"}
    assert current_context(environment, tmp_path) == KubeContext("here", "team", "token-of-ada")


def test_a_tokens_file_goes_before_the_token_and_is_looked_for_beside_the_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "k").mkdir()
    (tmp_path / "k/token").write_text("from-the-file\n")
    users = [{"name": "ada", "user": {"token": "inline", "tokenFile": "token"}}]
    environment = {"KUBECONFIG": str(a_kubeconfig(tmp_path / "k/config", users=users))}
    found = current_context(environment, tmp_path)
    assert found is not None
    assert found.token == "from-the-file"


@pytest.mark.parametrize(
    ("changes", "want"),
    [
        ({"users": [{"name": "ada", "user": {"exec": {"command": "aws"}}}]}, KubeContext("here", "team", None)),
        ({"users": None}, KubeContext("here", "team", None)),
        ({"contexts": [{"name": "here", "context": {"user": "ada"}}]}, KubeContext("here", None, "token-of-ada")),
        ({"contexts": []}, KubeContext("here", None, None)),
        ({"current-context": ""}, None),
    ],
)
def test_what_a_kubeconfig_does_not_say_is_not_guessed(
    tmp_path: Path, changes: dict[str, Any], want: KubeContext | None
) -> None:
    assert current_context({"KUBECONFIG": str(a_kubeconfig(tmp_path / "k", **changes))}, tmp_path) == want


def test_without_a_kubeconfig_there_is_no_context(tmp_path: Path) -> None:
    assert current_context({}, tmp_path) is None


@pytest.mark.parametrize(
    ("text", "got"), [("{", "while parsing"), ("- a list", "but got list"), ("a: \x00", "unacceptable")]
)
def test_a_broken_kubeconfig_is_told_by_name(tmp_path: Path, text: str, got: str) -> None:
    (tmp_path / "k").write_text(text)
    with pytest.raises(KubeconfigRefused, match=r"k: must be a .*kubeconfig, but got") as refused:
        current_context({"KUBECONFIG": str(tmp_path / "k")}, tmp_path)
    assert got in str(refused.value)


# --- who asks


@pytest.mark.slow
def test_the_token_is_the_options_else_the_environments_else_the_kubeconfigs(
    service_place: Place, inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service_place.add()
    url = service_place.options[1]
    (tmp_path / "token").write_text("token-of-ada\n")
    monkeypatch.setenv("KUBECONFIG", str(a_kubeconfig(tmp_path / "k")))
    monkeypatch.setenv("TUNINGJOB_TOKEN", "wrong")
    assert inside("models", "--server", url, "--token-file", "token").stdout == "forest\n"
    assert inside("models", "--server", url).returncode == 3
    monkeypatch.delenv("TUNINGJOB_TOKEN")
    assert inside("models", "--server", url).stdout == "forest\n"
    monkeypatch.setenv("TUNINGJOB_SERVER", url)
    assert inside("models").stdout == "forest\n"


def test_without_a_token_it_is_told_how_to_get_one(
    inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = inside("models", "--server", "http://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "a Kubernetes token must be given, but got none." in done.stderr
    assert "export TUNINGJOB_TOKEN=$(kubectl create token SERVICEACCOUNT --audience tuningjob)" in done.stderr
    users = [{"name": "ada", "user": {"client-certificate-data": "…"}}]
    monkeypatch.setenv("KUBECONFIG", str(a_kubeconfig(tmp_path / "k", users=users)))
    done = inside("models", "--server", "http://127.0.0.1:1")
    assert "but got a kubeconfig context 'here' whose user has none." in done.stderr


@pytest.mark.parametrize(("content", "got"), [(None, "No such file"), ("\n", "an empty one")])
def test_a_tokens_file_that_holds_none_is_told(inside: Inside, tmp_path: Path, content: str | None, got: str) -> None:
    if content is not None:
        (tmp_path / "token").write_text(content)
    done = inside("models", "--server", "http://127.0.0.1:1", "--token-file", "token")
    assert done.returncode == 2
    assert "Error: token: must be a" in done.stderr
    assert got in done.stderr


@pytest.mark.slow
def test_a_token_that_nobody_knows_is_told_with_how_to_get_a_fresh_one(
    service_place: Place, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNINGJOB_TOKEN", "stale")
    done = inside("models", *service_place.options)
    assert (done.returncode, done.stdout) == (3, "")
    assert "A fresh one: TUNINGJOB_TOKEN=$(kubectl create token NAME --audience tuningjob)." in done.stderr


@pytest.mark.slow
def test_who_may_only_look_may_not_bless(service_place: Place, inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    assert service_place.service is not None
    service_place.add()
    monkeypatch.setenv("TUNINGJOB_TOKEN", service_place.service.register.enter("bob", "get"))
    assert inside("history", "forest", *service_place.options).returncode == 0
    done = inside("bless", "forest", 1, *service_place.options)
    assert (done.returncode, done.stdout) == (3, "")
    assert "bob must be allowed to update tuningjobs in team, but is not." in done.stderr
    done = inside("history", "forest", "--server", service_place.options[1], "-n", "other")
    assert "bob must be allowed to get tuningjobs in other, but is not." in done.stderr


def test_a_user_without_a_name_is_told_by_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 987_654)
    assert user() == "uid 987654"


# --- where


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://host", "http://", "/var/run/socket"])
def test_a_server_is_a_url(inside: Inside, url: str) -> None:
    done = inside("models", "--server", url)
    assert done.returncode == 2
    assert f"--server: must be an http:// or https:// URL, but got '{url}'." in done.stderr


def test_a_journal_and_a_server_at_once_are_one_too_many(inside: Inside) -> None:
    done = inside("models", "--server", "http://host", "--journal", "tuning.db")
    assert (done.returncode, done.stderr) == (
        2,
        "Error: --journal, --server: must be one of the two, but got both. Leave one out.\n",
    )


def test_a_journal_that_is_named_goes_before_the_server_of_the_environment(
    journal_place: Place, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal_place.add()
    monkeypatch.setenv("TUNINGJOB_SERVER", "http://127.0.0.1:1")
    assert inside("models", *journal_place.options).stdout == "forest\n"


@pytest.mark.slow
def test_a_token_that_would_travel_in_clear_is_warned_of(service_place: Place, inside: Inside) -> None:
    service_place.add()
    elsewhere = service_place.options[1].replace("127.0.0.1", "0.0.0.0")
    done = inside("models", "--server", elsewhere, "-n", "team")
    assert done.returncode == 0
    assert done.stderr == (
        f"warning: {elsewhere}: your token goes there unencrypted. Use https:// or `kubectl port-forward`.\n"
    )
    assert inside("models", *service_place.options) == Ended(0, "forest\n", "")


def test_a_file_that_is_no_certificate_is_told(inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNINGJOB_TOKEN", "secret")
    (tmp_path / "ca.crt").write_text("no certificate")
    done = inside("models", "--server", "https://127.0.0.1:1", "--ca-file", "ca.crt")
    assert done.returncode == 2
    assert "--ca-file: must be a file of certificates as PEM, but got" in done.stderr
    for named in ("ca.crt", "nowhere.crt"):
        monkeypatch.setenv("TUNINGJOB_CA_FILE", named)
        done = inside("models", "--server", "https://127.0.0.1:1")
        assert done.returncode == 2
        assert "TUNINGJOB_CA_FILE: must be a file of certificates as PEM, but got" in done.stderr


# --- a journal in Postgres


@pytest.mark.slow
def test_a_journal_in_postgres_is_asked_directly(postgres: Postgres, inside: Inside) -> None:
    name = postgres.create_database()
    url = postgres.url(name)
    for command in ("models", "history forest", "bless forest 1"):
        done = inside(*command.split(), "--journal", url)
        assert done.returncode == 2
        assert "--journal: must be a journal that is there, but got postgresql" in done.stderr
    clock = Clock()
    with closing(SqlJournal(url, clock=clock)) as journal:
        place = Place(journal, clock, Path(), ["--journal", url, "-n", "team"])
        place.add(artifacts="s3://bucket/search-1")
    assert inside("models", *place.options) == Ended(0, "forest\n", "")
    assert "version 1 is in use, by ada" in inside("bless", "forest", 1, *place.options).stdout
    postgres.empty_database(name)


def test_a_database_that_does_not_answer_is_told_without_its_password(inside: Inside) -> None:
    done = inside("models", "--journal", "postgresql://ada:hunter2@127.0.0.1:1/journal")
    assert done.returncode == 3
    assert "the journal's database must answer, but got: " in done.stderr
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr
