"""The code of a search as workers tell it: within bounds, compared as far as both tell it, and told in words."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tests.journal.makers import a_preflight, a_search
from tuningjob.errors import JournalMismatch
from tuningjob.journal.sql import SqlJournal
from tuningjob.protocol.code import Change, bounded, changes, digest_of, first_few
from tuningjob.protocol.parts import MAX_PARTS, Parts
from tuningjob.protocol.records import Preflight

ONE, OTHER = digest_of(b"one"), digest_of(b"other")


@pytest.fixture
def journal(journal: SqlJournal) -> SqlJournal:
    journal.open_search(a_search())
    return journal


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ({"mine.py": ONE}, {"mine.py": OTHER}, f"mine.py {ONE[:15]} → {OTHER[:15]}"),
        ({"xgboost": "3.1"}, {"xgboost": "3.2"}, "xgboost 3.1 → 3.2"),
        ({"local": f"1.0 {ONE}"}, {"local": f"1.0 {OTHER}"}, f"local 1.0 {ONE[:15]} → 1.0 {OTHER[:15]}"),
        ({"mine.py": ONE}, {"mine.py": ONE, "more.py": ONE}, f"more.py nothing → {ONE[:15]}"),
    ],
)
def test_a_worker_with_other_code_than_the_first_is_refused(
    journal: SqlJournal, first: dict[str, str], second: dict[str, str], told: str
) -> None:
    journal.view("search-a").set_preflight(a_preflight(code=first))
    journal.view("search-a").set_preflight(a_preflight(code=first))
    with pytest.raises(JournalMismatch) as refused:
        journal.view("search-a").set_preflight(a_preflight(code=second))
    assert str(refused.value) == f"must be the code that the search began with, but got {told}."


def test_what_a_worker_of_another_release_does_not_tell_is_not_compared(journal: SqlJournal) -> None:
    journal.view("search-a").set_preflight(a_preflight())
    journal.view("search-a").set_preflight(a_preflight(code={"mine.py": ONE}))
    journal.view("search-a").set_preflight(a_preflight(versions={"scikit-learn": "1.9.1", "lightgbm": "4.6.0"}))
    with pytest.raises(JournalMismatch, match=r"scikit-learn 1\.9\.1 → 1\.9\.2"):
        journal.view("search-a").set_preflight(a_preflight(versions={"scikit-learn": "1.9.2"}))


def test_without_code_a_preflight_travels_as_it_did_before() -> None:
    adapter = TypeAdapter(Preflight)
    assert b'"code"' not in adapter.dump_json(a_preflight())
    preflight = a_preflight(code={"mine.py": ONE})
    assert adapter.validate_json(adapter.dump_json(preflight)) == preflight


@pytest.mark.parametrize(
    "code",
    [{str(i): "1" for i in range(MAX_PARTS + 1)}, {"n" * 201: "1"}, {"n": "1" * 161}, {"n": 1}],
    ids=["many", "a long name", "a long mark", "a number"],
)
def test_the_journal_takes_no_more_than_its_bounds(code: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Parts).validate_python(code, strict=True)


@pytest.mark.slow
@given(st.dictionaries(st.text(max_size=300), st.text(max_size=300), max_size=400), st.data())
def test_any_code_can_be_brought_within_bounds_and_a_change_is_still_seen(
    parts: dict[str, str], data: st.DataObject
) -> None:
    short = bounded(parts)
    assert TypeAdapter(Parts).validate_python(short) == short
    assert bounded(short) == short
    if parts:
        name = data.draw(st.sampled_from(sorted(parts)))
        assert bounded({**parts, name: parts[name] + "x"}) != short


def test_changes_are_told_as_a_person_says_them() -> None:
    before = {"a.py": ONE, "b.py": ONE, "lib": "1.0", "local": f"1.0 {ONE}", "same": "2"}
    after = {"a.py": OTHER, "c.py": ONE, "lib": "1.1", "local": f"1.0 {OTHER}", "same": "2"}
    assert [change.told for change in changes(before, after)] == [
        "a.py changed",
        "b.py is gone",
        "c.py is new",
        "lib 1.0 → 1.1",
        "local changed",
    ]
    assert first_few([str(i) for i in range(7)]) == "0, 1, 2, 3, 4 and 2 more"
    assert Change("a.py", ONE, "").exact == f"a.py {ONE[:15]} → nothing"
