"""Columns that are features by oversight, and rows that belong together, are told; plain tables are not."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

from tests.search.searches import small
from tuningjob.manifest.cross_validation import CrossValidation
from tuningjob.search.roles import roles

RNG = np.random.default_rng(0)
ROWS = 200
TREE = DecisionTreeClassifier()


def told(*estimators: Any, **columns: Any) -> list[str]:
    frame = pd.DataFrame({"width": RNG.normal(size=ROWS), "age": RNG.integers(18, 90, ROWS), **columns})
    return list(roles(estimators or (TREE,), frame, CrossValidation()))


@pytest.mark.parametrize(
    ("name", "values", "what"),
    [
        ("id", RNG.integers(0, 9, ROWS), "an id"),
        ("order_id", RNG.integers(0, 9, ROWS), "an id"),
        ("orderId", RNG.integers(0, 9, ROWS), "an id"),
        ("weight", RNG.normal(size=ROWS), "a weight"),
        ("sample_weight", RNG.normal(size=ROWS), "a weight"),
        ("fold", RNG.integers(0, 5, ROWS), "a fold"),
        ("Unnamed: 0", np.arange(ROWS), "a row's number"),
        ("index", np.arange(ROWS), "a row's number"),
        ("customer", np.arange(1000, 1000 + ROWS), "an id"),
        ("ticket", np.arange(1000, 1000 + ROWS), "another value in each row"),
        ("sku", [f"A{i}" for i in range(ROWS)], "another value in each row"),
    ],
)
def test_a_column_that_looks_like_no_feature_is_told_with_what_to_do(name: str, values: Any, what: str) -> None:
    (warning,) = told(**{name: values})
    assert warning == (
        f"LeftoverColumn: 1 of the features looks as if it were none: {name} ({what}). Name the features in spec.data.features."
    )


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"price": RNG.normal(size=ROWS)},
        {"paid": RNG.integers(0, 50, ROWS)},
        {"review": [f"film {i} was good" for i in range(ROWS)]},
        {"plan": RNG.choice(["basic", "pro"], ROWS)},
        {"valid": RNG.integers(0, 2, ROWS), "humidity": RNG.integers(0, 99, ROWS), "paid": RNG.integers(0, 2, ROWS)},
        {"born": pd.Series(pd.date_range("1950-01-01", periods=ROWS)).sample(frac=1, random_state=0).to_numpy()},
    ],
    ids=["plain", "measured", "counted", "texts", "kinds", "names with id in them", "dates in no order"],
)
def test_a_plain_table_has_nothing_to_be_told_of(columns: dict[str, Any]) -> None:
    assert told(**columns) == []


def test_a_column_that_a_column_transformer_leaves_out_is_no_feature() -> None:
    named = ColumnTransformer([("num", SimpleImputer(), ["width", "age"])])
    ids = np.arange(ROWS)
    assert told(make_pipeline(named, TREE), id=ids) == []
    assert len(told(make_pipeline(named, TREE), TREE, id=ids)) == 1
    assert len(told(ColumnTransformer([("num", SimpleImputer(), ["width"])], remainder="passthrough"), id=ids)) == 1
    assert len(told(ColumnTransformer([("num", SimpleImputer(), make_column_selector())]), id=ids)) == 1


def test_rows_of_the_same_patient_are_told() -> None:
    leftover, warning = told(patient=[f"P{i % 60:03}" for i in range(ROWS)])
    assert "patient (an id)" in leftover
    assert warning.startswith(
        "RelatedRows: patient has 60 values in 200 rows: rows of the same patient are trained on and tested with alike"
    )


@pytest.mark.parametrize(
    "dates",
    [pd.date_range("2020-01-01", periods=ROWS), [f"{1900 + i}-01-01" for i in range(ROWS)]],
    ids=["dates", "text"],
)
def test_rows_in_the_order_of_a_date_are_told(dates: Any) -> None:
    (warning,) = told(since=dates)
    assert warning.startswith("RelatedRows: the rows are in the order of since: plain folds train on later rows")


@pytest.mark.slow
@given(
    st.dictionaries(
        st.text(max_size=6),
        st.lists(
            st.one_of(
                st.none(),
                st.booleans(),
                st.integers(),
                st.floats(),
                st.text(max_size=4),
                st.dates(),
                st.lists(st.integers()),
            ),
            min_size=30,
            max_size=30,
        ),
        max_size=3,
    )
)
def test_whatever_a_file_holds_is_looked_at_without_an_error(columns: dict[str, Any]) -> None:
    list(roles([TREE], pd.DataFrame(columns), CrossValidation()))


def test_features_that_the_manifest_names_are_meant(tmp_path: Any) -> None:
    frame = pd.DataFrame({"id": range(60), "width": RNG.normal(size=60), "label": [0, 1] * 30})
    frame.to_csv(tmp_path / "t.csv", index=False)
    data = {"path": "t.csv", "target": "label"}
    (warning,) = small({"max_depth": [1]}, data=data, folder=tmp_path).warnings
    assert warning.startswith("LeftoverColumn: ")
    assert small({"max_depth": [1]}, data=data | {"features": ["id", "width"]}, folder=tmp_path).warnings == ()
