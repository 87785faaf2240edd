"""Tokens: a right to one search, from one installation, while the search lives."""

import base64
import json
import multiprocessing
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningjob_operator.tokens import Keys, TokenRefused, issue, load_or_create_key, read_keys, search_of_token

KEYS = Keys(bytes(range(32)))
TOKEN = issue(KEYS, "search-a")
# As releases before signed it, whose tokens had an end: 2020-01-01.
OLD_TOKEN = "tj1.eyJleHAiOjE1Nzc4MzY4MDAsInNlYXJjaCI6InNlYXJjaC1hIn0.jfVrLnhsNEAjHjbnxcwKFvVWG0FapEw7hoXVpCHNNfU"


@pytest.mark.slow
@given(search=st.text(min_size=1, max_size=64), key=st.binary(min_size=32, max_size=32))
def test_a_token_names_the_search_it_was_issued_for(search: str, key: bytes) -> None:
    assert search_of_token(Keys(key), issue(Keys(key), search)) == search


def test_the_same_search_and_key_give_the_same_token() -> None:
    assert issue(KEYS, "search-a") == TOKEN
    assert issue(KEYS, "search-b") != TOKEN
    assert issue(Keys(bytes(32)), "search-a") != TOKEN


def test_a_token_fits_a_header() -> None:
    assert TOKEN.startswith("tj1.")
    assert TOKEN.isascii()
    assert TOKEN.isprintable()
    assert " " not in TOKEN


def test_a_token_of_a_release_whose_tokens_had_an_end_is_good_after_it() -> None:
    assert search_of_token(KEYS, OLD_TOKEN) == "search-a"


def test_a_token_of_a_former_key_is_good_while_that_key_is_kept() -> None:
    renewed = Keys(bytes(32), former=(KEYS.current,))
    assert search_of_token(renewed, TOKEN) == "search-a"
    assert issue(renewed, "search-a") == issue(Keys(bytes(32)), "search-a")
    with pytest.raises(TokenRefused, match="must be signed by this installation"):
        search_of_token(Keys(bytes(32)), TOKEN)


def test_a_token_of_another_installation_is_refused() -> None:
    with pytest.raises(TokenRefused, match="must be signed by this installation"):
        search_of_token(Keys(bytes(32)), TOKEN)


def test_a_token_that_was_made_out_to_another_search_is_refused() -> None:
    _, payload, signature = TOKEN.split(".")
    fields = json.loads(base64.urlsafe_b64decode(payload + "=="))
    forged = base64.urlsafe_b64encode(json.dumps(fields | {"search": "search-b"}).encode()).rstrip(b"=").decode()
    with pytest.raises(TokenRefused, match="must be signed by this installation"):
        search_of_token(KEYS, f"tj1.{forged}.{signature}")


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
        search_of_token(KEYS, token)


@given(position=st.integers(0, len(TOKEN) - 1), character=st.characters(codec="ascii"))
def test_a_token_with_any_character_changed_is_refused(position: int, character: str) -> None:
    changed = TOKEN[:position] + character + TOKEN[position + 1 :]
    if changed != TOKEN:
        with pytest.raises(TokenRefused):
            search_of_token(KEYS, changed)


@given(token=st.text(max_size=200))
def test_whatever_comes_is_refused_and_breaks_nothing(token: str) -> None:
    with pytest.raises(TokenRefused):
        search_of_token(KEYS, token)


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


# --- a Secret with keys -----------------------------------------------------------------------------------------------


def write(path: Path, byte: int) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes([byte]) * 32)
    return path.read_bytes()


def test_the_keys_of_a_secret_are_the_current_one_and_those_before_it(tmp_path: Path) -> None:
    secret, volume = tmp_path / "secret", tmp_path / "data" / "signing.key"
    current = write(secret / "signing.key", 1)
    assert read_keys(secret, volume) == Keys(current)
    assert not volume.exists()
    former = write(secret / "former.key", 2)
    assert read_keys(secret, volume) == Keys(current, (former,))


def test_the_key_on_the_volume_of_a_release_before_is_a_former_one(tmp_path: Path) -> None:
    secret, volume = tmp_path / "secret", tmp_path / "data" / "signing.key"
    current, before = write(secret / "signing.key", 1), write(volume, 3)
    assert read_keys(secret, volume) == Keys(current, (before,))
    assert read_keys(None, volume) == Keys(before)


@pytest.mark.parametrize("content", [None, b"", b"short"])
def test_a_secret_without_a_key_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "signing.key").write_bytes(content)
    with pytest.raises(ValueError, match=r"signing\.key: must be a key of 32 bytes"):
        read_keys(tmp_path, tmp_path / "data")


def test_each_key_has_a_name_that_says_nothing_of_it() -> None:
    keys = Keys(bytes(32), former=(KEYS.current,))
    assert len(set(keys.ids)) == 2
    assert keys.ids[1:] == KEYS.ids
    assert all(len(name) == 8 and bytes.fromhex(name) not in key for name in keys.ids for key in (keys.current,))
