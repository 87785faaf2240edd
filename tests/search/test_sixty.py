"""Whatever the table of searches says in a manifest is what it says in Python, to the bit."""

import hashlib
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.journal.template import ensure_journal
from tests.manifest.manifests import SPEC
from tests.search import sixty
from tests.servers import files
from tests.truth import assert_equal_to_the_bit
from tuningjob import local
from tuningjob.manifest import load
from tuningjob.search.stop import Stop

pytestmark = pytest.mark.slow

# What a search is; the rest of a manifest is where and how it runs.
_WORDS: Final = (
    "estimator",
    "search",
    "crossValidation",
    "scoring",
    "refit",
    "select",
    "baseline",
    "returnTrainScore",
    "data",
)
# Of pods alone, and what a client sends; and what has a truth of more than a line, and tests of its own: test_refine.py, test_nested.py.
_ELSEWHERE: Final = {("data", "persistentVolumeClaim"), ("data", "configMap"), ("data", "uploaded")}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[files.FileServer]:
    """The table's files, on a disk and on a web server."""
    with files.https(tmp_path_factory.mktemp("sixty")) as server:
        sixty.write(server.folder)
        yield server


def spec_of(row: dict[str, Any], site: files.FileServer) -> dict[str, Any]:
    """With what the table leaves out."""
    spec = {**sixty.USUAL, "resources": {"cpu": 1}, **row}
    data = {name: value for name, value in spec["data"].items() if value is not ...}
    if "url" in data:
        name = data["url"].rpartition("/")[2]
        digest = hashlib.sha256((site.folder / name).read_bytes()).hexdigest()
        data |= {"url": f"{site.url}/{name}", "sha256": digest}
    return {**spec, "data": data}


@pytest.mark.parametrize("name", sixty.TABLE)
def test_a_manifest_finds_what_is_found_by_hand(
    name: str, site: files.FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(site.authority))
    monkeypatch.setenv("SIXTY_DB", f"sqlite:///{site.folder}/t.db")
    row, by_hand = sixty.TABLE[name]
    hand = by_hand(site.folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        want = hand.search.fit(hand.X, hand.y, **hand.fit)
    metadata = {"name": "sixty"}
    job = load(
        {"apiVersion": "tuningjob.dev/v1alpha1", "kind": "TuningJob", "metadata": metadata, "spec": spec_of(row, site)}
    )
    ensure_journal(tmp_path / "tuning.db")

    outcome = local.run(job, folder=site.folder, output=tmp_path, stop=Stop())
    found, baseline = outcome.results, outcome.answer.baseline

    assert found.failed_fits == 0
    # of whatever kind it is, it is measured against its defaults
    assert (baseline is None) == ("halving" in row.get("search", {}))
    unknown = [sentence for sentence in (baseline.told if baseline else ()) if "is not known" in sentence]
    if name == "a scorer of one's own":  # it asks for a depth, which no dummy has
        assert ": KeyError: 'max_depth'." in unknown.pop()
    assert unknown == []
    assert_equal_to_the_bit(found.cv_results, want.cv_results_)
    # a rule may look at the times, which are its own search's
    best = hand.search.refit(found.cv_results) if callable(hand.search.refit) else want.best_index_
    assert found.best_index == best


def test_the_table_has_each_word_twice() -> None:
    known = {
        word
        for word in declared(SPEC)
        if word[0] in _WORDS and not _ELSEWHERE & {word[:2]} and not {"refine", "nested"} & {*word}
    }
    said: Counter[tuple[str, ...]] = Counter()
    for row, _ in sixty.TABLE.values():
        spec = {**sixty.USUAL, **row}
        said.update({*words(spec, SPEC), *(("estimator", name) for name in keys(spec["estimator"]))})
    assert {word: said[word] for word in known if said[word] < 2} == {}
    assert len(sixty.TABLE) >= 60


def words(value: Any, schema: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The fields that are given."""
    for name, inner in schema.get("properties", {}).items():
        if isinstance(value, dict) and name in value:
            yield (*path, name)
            yield from words(value[name], inner, (*path, name))
    for each in value if isinstance(value, list) else []:
        yield from words(each, schema.get("items", {}), path)


def keys(value: Any) -> Iterator[str]:
    """Of an estimator, however deep."""
    if isinstance(value, dict):
        yield from value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from keys(each)


def declared(schema: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The fields that there are; of an estimator, whose parts are estimators, each once."""
    for name, inner in schema.get("properties", {}).items():
        found = (path[0], name) if path[:1] == ("estimator",) else (*path, name)
        yield found
        yield from declared(inner, found)
    yield from declared(schema["items"], path) if "items" in schema else ()
