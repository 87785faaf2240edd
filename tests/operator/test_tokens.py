"""Tokens: a right to one search, until one time, from one installation."""

import base64
import datetime as dt
import json
import multiprocessing
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningjob_operator.tokens import TokenRefused, issue, load_or_create_key, verify

KEY = bytes(range(32))
NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
SOON = NOON + dt.timedelta(hours=1)
TOKEN = issue(KEY, "search-a", SOON)


@given(search=st.text(min_size=1, max_size=64), key=st.binary(min_size=32, max_size=32))
def test_a_token_names_the_search_it_was_issued_for(search: str, key: bytes) -> None:
    assert verify(key, issue(key, search, SOON), NOON) == search


def test_the_same_search_and_end_give_the_same_token() -> None:
    elsewhere = SOON.astimezone(dt.timezone(dt.timedelta(hours=5)))
    assert issue(KEY, "search-a", elsewhere) == TOKEN
    assert issue(KEY, "search-b", SOON) != TOKEN
    assert issue(KEY, "search-a", SOON + dt.timedelta(seconds=1)) != TOKEN


def test_a_token_fits_a_header() -> None:
    assert TOKEN.startswith("tj1.")
    assert TOKEN.isascii()
    assert TOKEN.isprintable()
    assert " " not in TOKEN


def test_a_token_expires() -> None:
    assert verify(KEY, TOKEN, SOON - dt.timedelta(seconds=1)) == "search-a"
    with pytest.raises(
        TokenRefused, match=r"must be used before 2026-03-01T13:00:00\+00:00, but it is 2026-03-01T13:00:00"
    ):
        verify(KEY, TOKEN, SOON)


def test_a_token_of_another_installation_is_refused() -> None:
    with pytest.raises(TokenRefused, match="must be signed by this installation"):
        verify(bytes(32), TOKEN, NOON)


def test_a_token_that_was_made_out_to_another_search_is_refused() -> None:
    _, payload, signature = TOKEN.split(".")
    fields = json.loads(base64.urlsafe_b64decode(payload + "=="))
    forged = base64.urlsafe_b64encode(json.dumps(fields | {"search": "search-b"}).encode()).rstrip(b"=").decode()
    with pytest.raises(TokenRefused, match="must be signed by this installation"):
        verify(KEY, f"tj1.{forged}.{signature}", NOON)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "tj1",
        "tj1.a",
        "tj1.a.b.c",
        "a.b.c",
        "tj1..",
        "tj1.é.é",
        "tj1.\ud800.AAAA",
        f"{TOKEN}=",
        f"{TOKEN} ",
        f"tj2{TOKEN[3:]}",
        "x" * 10_000,
    ],
)
def test_what_is_no_token_is_refused_in_one_sentence(token: str) -> None:
    with pytest.raises(TokenRefused, match=r"^The token must [^\n]+\.$"):
        verify(KEY, token, NOON)


@given(position=st.integers(0, len(TOKEN) - 1), character=st.characters(codec="ascii"))
def test_a_token_with_any_character_changed_is_refused(position: int, character: str) -> None:
    changed = TOKEN[:position] + character + TOKEN[position + 1 :]
    if changed != TOKEN:
        with pytest.raises(TokenRefused):
            verify(KEY, changed, NOON)


@given(token=st.text(max_size=200))
def test_whatever_comes_is_refused_and_breaks_nothing(token: str) -> None:
    with pytest.raises(TokenRefused):
        verify(KEY, token, NOON)


def test_a_naive_end_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        issue(KEY, "search-a", dt.datetime(2026, 3, 1))  # noqa: DTZ001  that is the point


# --- the key --------------------------------------------------------------------------------------------------------


def test_a_key_is_made_once_and_then_read(tmp_path: Path) -> None:
    path = tmp_path / "data" / "signing.key"
    key = load_or_create_key(path)
    assert len(key) == 32
    assert load_or_create_key(path) == key
    assert load_or_create_key(tmp_path / "another.key") != key


def test_a_key_is_its_owners_alone_and_no_draft_is_left(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    load_or_create_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"short"])
def test_a_file_that_holds_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "signing.key"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="must be a key of 32 bytes"):
        load_or_create_key(path)


def _load(path: Path, barrier: Any, keys: Any) -> None:
    barrier.wait()
    keys.put(load_or_create_key(path))


@pytest.mark.slow
def test_containers_that_start_together_end_up_with_one_key(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    for attempt in range(10):
        barrier, keys = fork.Barrier(4), fork.Queue()
        path = tmp_path / f"{attempt}.key"
        containers = [fork.Process(target=_load, args=(path, barrier, keys)) for _ in range(4)]
        for container in containers:
            container.start()
        found = {keys.get(timeout=30) for _ in containers}
        for container in containers:
            container.join()
        assert len(found) == 1
