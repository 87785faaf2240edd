"""The proof of CountedDocuments."""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.model_selection import KFold
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.tree import DecisionTreeClassifier

from tests.engine.bits import assert_same_bits
from tests.engine.compare import assert_same_search
from tests.engine.rules.proof import examples, rule_of, shown
from tests.engine.test_property import SETTINGS, Space, grids
from tuningjob.engine import Work, held_bytes
from tuningjob.engine.memo import Memo
from tuningjob.engine.rules import NestedTransform
from tuningjob.engine.term_counts import TermCounts

WORDS = [
    "the",
    "The",
    "cat",
    "sat",
    "on",
    "a",
    "mat,",
    "naïve",
    "Straße",
    "STRASSE",
    "don't",
    "x",
    "42",
    "ünï",
    "\ufb01n",
    "the-cat",
]
WORDS += ["and", "de", "la\u0301", "\u6f22\u5b57"]
RNG = np.random.default_rng(0)
DOCUMENTS = [" ".join(RNG.choice(WORDS, size)) for size in RNG.integers(0, 25, 60)] + ["", "  ", "the cat sat"] * 2
LIMITS: list[dict[str, Any]] = [
    {},
    {"min_df": 2},
    {"min_df": 0.1, "max_df": 0.7},
    {"max_df": 20, "max_features": 7},
    {"max_features": 3, "binary": True},
    {"min_df": 5, "max_features": 1_000},
    {"binary": True, "dtype": np.float32},
    {"dtype": np.intc, "binary": True},
    {"min_df": 60},  # none is left
    {"min_df": 9, "max_df": 3},
]
WEIGHTS: list[dict[str, Any]] = [
    {"norm": None},
    {"norm": "l1", "use_idf": False},
    {"smooth_idf": False, "max_features": 5},
    {"sublinear_tf": True, "binary": True, "min_df": 2},
]


def assert_counted_alike(vectorizer: Any, variants: Sequence[Any], X: Any) -> None:
    """In each of three folds: the same matrices, vocabularies and errors as fits of their own."""
    rule = rule_of(NestedTransform, vectorizer)
    kept: dict[Any, Any] = {}
    for train, test in KFold(3).split(np.arange(len(X))):
        rows, others = (_taken(X, part) for part in (train, test))
        with Memo(0, kept).active():
            common = rule.fit(clone(vectorizer), rows, None)
            for variant in variants:
                unfitted = clone(vectorizer).set_params(**variant)
                assert rule.applies(unfitted, rows)
                plain = clone(unfitted)
                try:
                    expected = plain.fit_transform(rows)
                except ValueError:
                    with pytest.raises(ValueError, match=r"no terms|documents than min_df"):
                        rule.derive(common, unfitted, rows)
                    continue
                Xt, made = rule.derive(common, unfitted, rows)
                assert_same_matrix(Xt, expected, f"{variant}")
                assert vars(made).keys() == vars(plain).keys()
                assert [*map(typed, made.vocabulary_.items())] == [*map(typed, plain.vocabulary_.items())]
                assert type(made.vocabulary_) is dict
                if hasattr(plain, "idf_"):
                    assert_same_bits(made.idf_, plain.idf_)
                for part in (others, rows):
                    assert_same_matrix(rule.transform(made, part), plain.transform(part), f"{variant}")
                    assert_same_matrix(made.transform(part), plain.transform(part), f"{variant}")


def assert_same_matrix(one: Any, other: Any, what: str) -> None:
    assert type(one) is type(other), what
    assert one.shape == other.shape, what
    assert_same_bits(one, other, what)
    assert one.has_sorted_indices == other.has_sorted_indices, what
    assert one.has_canonical_format == other.has_canonical_format, what


def typed(item: tuple[str, Any]) -> tuple[Any, ...]:
    return *item, *map(type, item)


def _taken(X: Any, rows: Any) -> Any:
    if isinstance(X, pd.Series):
        return X.iloc[rows]
    return X[rows] if isinstance(X, np.ndarray) else [X[row] for row in rows]


@pytest.mark.alike
@pytest.mark.parametrize(
    "vectorizer",
    [
        CountVectorizer(),
        TfidfVectorizer(ngram_range=(1, 3)),
        CountVectorizer(ngram_range=(2, 2), stop_words=["the", "and"]),
        CountVectorizer(analyzer="char", ngram_range=(1, 3), lowercase=False),
        CountVectorizer(analyzer="char_wb", ngram_range=(2, 5)),
        TfidfVectorizer(strip_accents="unicode", token_pattern=r"[\w ]+", ngram_range=(1, 2)),
        CountVectorizer(strip_accents="ascii", token_pattern=r"\b(\w)\w*", stop_words="english"),
    ],
    ids=shown,
)
@pytest.mark.filterwarnings("ignore:Your stop_words:UserWarning", "ignore:Only .* 'dtype' should be used:UserWarning")
def test_documents_are_counted_once(vectorizer: Any) -> None:
    variants = LIMITS + (WEIGHTS if isinstance(vectorizer, TfidfVectorizer) else [])
    assert_counted_alike(vectorizer, variants, DOCUMENTS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "X",
    [
        np.array(DOCUMENTS, object),
        np.array(DOCUMENTS),
        pd.Series(DOCUMENTS, index=range(3, 3 + len(DOCUMENTS))),
        pd.Series(DOCUMENTS, dtype="string"),
        [text.encode() for text in DOCUMENTS],
        [text if len(text) % 2 else text.encode("utf-16") for text in DOCUMENTS],
    ],
    ids=["objects", "strings", "series", "strings of pandas", "bytes", "both, of no encoding"],
)
def test_whatever_holds_the_documents(X: Any) -> None:
    assert_counted_alike(CountVectorizer(decode_error="replace", ngram_range=(1, 2)), LIMITS, X)


@pytest.mark.slow
@examples(20)
@given(data=st.data())
def test_any_documents_and_settings(data: st.DataObject) -> None:
    draw = data.draw
    words = st.sampled_from([*WORDS, "", "\n", "\t \n", "aa", "aaa"])
    texts = st.lists(words, max_size=12).map(" ".join) | st.text(alphabet="ab ÄßI\u0301\u200d", max_size=12)
    X = draw(st.lists(texts, min_size=6, max_size=25))
    first = draw(st.integers(1, 4))
    kind = draw(st.sampled_from([CountVectorizer, TfidfVectorizer]))
    vectorizer = kind(
        analyzer=draw(st.sampled_from(["word", "word", "char", "char_wb"])),
        ngram_range=(first, first + draw(st.integers(0, 2))),
        lowercase=draw(st.booleans()),
        strip_accents=draw(st.sampled_from([None, "ascii", "unicode"])),
        token_pattern=draw(st.sampled_from([r"(?u)\b\w\w+\b", r"\w", r"\S+ ?\S*"])),
    )
    limits = {
        "min_df": st.sampled_from([1, 2, 3, 0.0, 0.2]),
        "max_df": st.sampled_from([1.0, 0.5, 0.9, 3]),
        "max_features": st.sampled_from([None, None, 1, 2, 5, 50]),
        "binary": st.booleans(),
    }
    if kind is TfidfVectorizer:
        limits |= {"use_idf": st.booleans(), "norm": st.sampled_from(["l1", "l2", None])}
    variants = draw(st.lists(st.fixed_dictionaries(limits), min_size=1, max_size=4))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The parameter 'token_pattern' will not be used")
        try:
            assert_counted_alike(vectorizer, variants, X)
        except ValueError as error:
            assert "empty vocabulary" in str(error)  # noqa: PT017  of the plain fit


SEARCHES: list[tuple[Any, dict[str, Any]]] = [
    (
        Pipeline([("words", TfidfVectorizer()), ("model", MultinomialNB())]),
        {
            "words__ngram_range": [(1, 1), (1, 2), (2, 2)],
            "words__min_df": [1, 60],
            "words__max_df": [2, 0.9],
            "model__alpha": [0.1, 1.0],
        },
    ),
    (
        Pipeline(
            [
                ("both", FeatureUnion([("words", CountVectorizer()), ("chars", CountVectorizer(analyzer="char"))])),
                ("model", MultinomialNB()),
            ]
        ),
        {
            "both__words__stop_words": [None, "english", ["the", "Cat"]],
            "both__words__max_features": [None, 5],
            "both__chars__ngram_range": [(1, 1), (1, 3), (3, 1)],
        },
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("search", "X", "n_jobs"),
    [
        (SEARCHES[0], np.array(DOCUMENTS, object), None),
        (SEARCHES[1], pd.Series(DOCUMENTS), None),
        (SEARCHES[0], DOCUMENTS, 2),
        (SEARCHES[1], DOCUMENTS, 2),
    ],
    ids=["one, an array", "two, a series", "one, a list, in processes", "two, a list, in processes"],
)
def test_a_search_over_documents_is_scikit_learns(search: tuple[Any, Any], X: Any, n_jobs: Any) -> None:
    y = np.arange(len(DOCUMENTS)) % 3
    assert_same_search(*search, X, y, n_jobs=n_jobs, cv=3, return_train_score=True)


COUNTED: Space = {
    "ngram_range": [(1, 1), (1, 2), (2, 2), (2, 1)],
    "min_df": [1, 2, 0.2, 30],
    "max_df": [1.0, 0.6, 4],
    "max_features": [None, 1, 4, 100],
    "binary": [True, False],
    "analyzer": ["word", "char", "char_wb"],
    "stop_words": [None, "english", ["the", "a"]],
    "lowercase": [True, False],
}
WEIGHED: Space = {**COUNTED, "use_idf": [True, False], "norm": ["l1", "l2", None], "sublinear_tf": [True, False]}


@pytest.mark.slow
@SETTINGS
@given(st.data())
def test_any_search_over_documents_is_scikit_learns_to_the_bit(data: st.DataObject) -> None:
    draw = data.draw
    X = draw(
        st.lists(st.lists(st.sampled_from([*WORDS, "", "\n"]), max_size=9).map(" ".join), min_size=12, max_size=30)
    )
    words, space = draw(st.sampled_from([(CountVectorizer(), COUNTED), (TfidfVectorizer(), WEIGHED)]))
    model, of_model = draw(
        st.sampled_from(
            [
                (MultinomialNB(), {"alpha": [0.1, 1.0]}),
                (DecisionTreeClassifier(random_state=0), {"max_leaf_nodes": [2, 5, None]}),
            ]
        )
    )
    assert_same_search(
        Pipeline([("words", words), ("model", model)]),
        {**draw(grids(space, "words__", 4)), **draw(grids(of_model, "model__", 1))},
        np.array(X) if draw(st.booleans()) else X,
        np.arange(len(X)) % draw(st.integers(2, 3)),
        n_jobs=draw(st.sampled_from([1, 1, 1, 2])),
        cv=draw(st.sampled_from([2, 3, KFold(2, shuffle=True, random_state=1)])),
        return_train_score=draw(st.booleans()),
        error_score=draw(st.sampled_from([np.nan, np.nan, "raise"])),
    )


def test_errors_of_a_search_over_documents_are_scikit_learns() -> None:
    pipeline = Pipeline([("words", CountVectorizer()), ("model", MultinomialNB())])
    y = np.arange(len(DOCUMENTS)) % 3
    for grid in (
        {"words__token_pattern": ["nothing has this"]},
        {"words__min_df": [1_000, 2_000]},
        {"words__min_df": [9], "words__max_df": [3]},
    ):
        error = assert_same_search(pipeline, grid, DOCUMENTS, y, cv=3, error_score="raise")
        assert isinstance(error, ValueError)
    broken = [*DOCUMENTS[:-1], np.nan]
    assert_same_search(pipeline, {"words__min_df": [1, 2]}, broken, y, cv=3)


def test_what_may_do_anything_is_left_to_a_fit_of_its_own() -> None:
    rule = rule_of(NestedTransform, CountVectorizer())
    assert rule.applies(CountVectorizer(), DOCUMENTS)
    for settings_ in (
        {"input": "filename"},
        {"analyzer": str.split},
        {"tokenizer": str.split},
        {"preprocessor": str.lower},
        {"strip_accents": str.strip},
        {"vocabulary": ["cat"]},
        {"ngram_range": (2, 1)},
        {"ngram_range": [1, 2]},
        {"ngram_range": (0, 1)},
    ):
        assert not rule.applies(CountVectorizer(**settings_), DOCUMENTS)
    for X in ("text", tuple(DOCUMENTS), iter(DOCUMENTS), [*DOCUMENTS, None], [*DOCUMENTS, 1.5], np.array([DOCUMENTS])):
        assert not rule.applies(CountVectorizer(), X)


# --- the counts


def split(text: str) -> Iterator[str]:
    return iter(text.split())


def never(text: str) -> Iterator[str]:
    raise AssertionError(f"{text!r} is counted again")


def test_a_document_that_is_known_is_not_looked_at_again() -> None:
    counts = TermCounts()
    first = counts.rows({"words": split}, ["b a b", "", "c a"])
    assert first is not None
    again = counts.rows({"words": never}, ["c a", "b a b", "c a"])
    assert again is not None
    assert counts.terms.names(again.numbers) == ["c", "a", "b", "a", "c", "a"]
    assert again.counts.tolist() == [1, 1, 2, 1, 1, 1]
    assert again.indptr.tolist() == [0, 2, 4, 6]
    both = counts.rows({"words": never, "lengths": lambda text: map(str, map(len, text.split()))}, ["", "b a b"])
    assert both is not None
    assert counts.terms.names(both.numbers) == ["b", "a", "1"]
    assert both.counts.tolist() == [2, 1, 3]


def test_what_is_too_large_is_not_kept_and_not_counted_again() -> None:
    counts = TermCounts(limit=50_000)
    assert counts.rows({"words": split}, ["a b", "c"]) is not None
    long = " ".join(map(str, range(1_000)))
    assert counts.rows({"words": split, "letters": iter}, [long]) is None
    assert counts.bytes == 0
    assert not counts.keep(["words", "letters"])
    assert counts.keep(["letters"])
    assert counts.rows({"letters": iter}, [long]) is not None


def test_what_is_kept_of_documents_is_said_to_be_held() -> None:
    def held(vectorizer: Any, **settings: Any) -> int:
        pipeline = Pipeline([("words", vectorizer), ("model", MultinomialNB())])
        splits = list(KFold(2).split(DOCUMENTS))
        work = Work(estimator=pipeline, candidates=[{}], X=DOCUMENTS, y=None, splits=splits, scorer=None)
        return held_bytes(work, 3, **settings)

    assert held(TfidfVectorizer()) - held(HashingVectorizer()) == 3 * TermCounts.LIMIT
    assert held(TfidfVectorizer(), smallest_memo=0) == held(HashingVectorizer(), smallest_memo=0)
