"""Cells of one identity have one result, and cells that may differ have none in common."""

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, ParameterGrid
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from tests.search.own_models import tamed
from tuningjob.search.code_identity import CodeReader
from tuningjob.search.identity import Identities, digest_of_splits
from tuningjob.search.problem import library_versions

X = np.arange(40.0).reshape(20, 2)
SPLITS = list(KFold(3).split(X))
SETTING = {"data": "d", "scoring": None}


def identities(estimator: Any, candidates: Any, *, splits: Any = SPLITS, setting: Any = SETTING) -> Identities:
    return Identities(
        estimator=estimator,
        candidates=candidates,
        splits=splits,
        setting=setting,
        reader=CodeReader(told=library_versions()),
    )


def svc(**params: Any) -> SVC:
    return SVC(random_state=0, **params)


def test_every_cell_of_a_search_has_an_identity_of_its_own() -> None:
    grid = ParameterGrid({"C": [0.1, 1, 1.5], "kernel": ["rbf", "linear"]})
    of = identities(svc(), grid).of
    found = {of(candidate, split) for candidate in range(6) for split in range(3)}
    assert len(found) == 18
    assert None not in found


def test_the_same_parameters_are_the_same_however_they_got_there() -> None:
    by_grid = identities(svc(), [{"C": 3.0}]).of(0, 0)
    assert by_grid is not None
    assert identities(svc(C=3.0), [{}]).of(0, 0) == by_grid
    assert identities(svc(C=9.0), [{"C": 3.0}]).of(0, 0) == by_grid
    assert identities(svc(), [{"C": np.float64(3.0)}]).of(0, 0) == by_grid


def test_in_a_pipeline_it_does_not_matter_who_set_a_steps_parameter() -> None:
    def pipeline(**params: Any) -> Pipeline:
        return Pipeline([("scale", StandardScaler()), ("svc", svc(**params))])

    fixed = identities(pipeline(C=3.0), [{}]).of(0, 0)
    assert fixed is not None
    assert identities(pipeline(), [{"svc__C": 3.0}]).of(0, 0) == fixed
    assert identities(pipeline(), [{"svc": svc(C=3.0)}]).of(0, 0) == fixed
    assert identities(pipeline(), [{"svc": svc(), "svc__C": 3.0}]).of(0, 0) == fixed
    assert identities(pipeline(), [{"svc__C": 3.0, "scale": "passthrough"}]).of(0, 0) != fixed


@pytest.mark.parametrize(
    "other",
    [
        lambda: identities(svc(), [{"C": 3}]),
        lambda: identities(svc(), [{"C": 3.0000000000000004}]),
        lambda: identities(SVC(random_state=1), [{"C": 3.0}]),
        lambda: identities(LogisticRegression(random_state=0), [{"C": 3.0}]),
        lambda: identities(svc(), [{"C": 3.0}], splits=list(KFold(4).split(X))),
        lambda: identities(svc(), [{"C": 3.0}], setting={"data": "e", "scoring": None}),
        lambda: identities(svc(), [{"C": 3.0}], setting={"data": "d", "scoring": "accuracy"}),
    ],
)
def test_whatever_may_change_the_result_changes_the_identity(other: Any) -> None:
    assert other().of(0, 0) != identities(svc(), [{"C": 3.0}]).of(0, 0)


def test_what_draws_unseeded_has_no_identity_and_tells_by_which_parameter() -> None:
    found = identities(RandomForestClassifier(), [{"random_state": 1}, {"random_state": None}, {}])
    assert found.of(0, 0) is not None
    assert found.of(1, 0) is None
    assert found.of(2, 0) is None
    assert found.unseeded(0) == ()
    assert found.unseeded(2) == ("random_state",)
    nested = identities(Pipeline([("forest", RandomForestClassifier())]), [{}])
    assert nested.of(0, 0) is None
    assert nested.unseeded(0) == ("forest__random_state",)


def test_a_generator_has_no_identity_for_nobody_knows_where_it_stands() -> None:
    assert identities(svc(), [{"random_state": np.random.RandomState(0)}]).of(0, 0) is None


def test_a_function_is_known_by_its_name_and_its_modules_source_and_a_lambda_not_at_all() -> None:
    named = identities(FunctionTransformer(tamed), [{}])
    assert named.of(0, 0) is not None
    assert identities(FunctionTransformer(np.log1p), [{}]).of(0, 0) != named.of(0, 0)
    assert identities(FunctionTransformer(lambda data: data), [{}]).of(0, 0) is None
    assert identities(SelectKBest(f_classif), [{"k": 1}]).of(0, 0) is not None


def test_the_digests_of_splits_and_estimator_and_the_seed_are_told() -> None:
    assert digest_of_splits(SPLITS) != digest_of_splits(list(KFold(4).split(X)))
    assert identities(svc(), []).estimator_digest == identities(svc(), []).estimator_digest
    assert identities(svc(), []).estimator_digest != identities(svc(C=2), []).estimator_digest
    assert identities(svc(), []).seed == '{"random_state": 0}'
    assert identities(StandardScaler(), []).seed == ""
