"""What every proof of a rule does: fit by the rule, fit plainly, compare every prediction to the bit."""

import os
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import hypothesis
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone

from tests.engine.bits import assert_same_bits
from tuningjob.engine.rules.base import NestedFit, NestedTransform, Rule, rules_for

METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function")
_Kind = TypeVar("_Kind", bound=Rule)


def examples(quick: int) -> hypothesis.settings:
    """Settings of a property test: so many examples in the quick profile, and as many as TUNINGJOB_EXAMPLES says if it is set."""
    return hypothesis.settings(max_examples=int(os.environ.get("TUNINGJOB_EXAMPLES", quick)), deadline=None)


def shown(value: Any) -> str:
    """An estimator as the name of a case, the same in every run; other values by pytest's own way."""
    named = " ".join(repr(value).split()) if hasattr(value, "get_params") else type(value).__name__
    return re.sub(r" at 0x[0-9A-F]+", "", named)


def rule_of(kind: type[_Kind], estimator: Any) -> _Kind:
    """The registered rule for an estimator; where it is not in force on an older scikit-learn, there is nothing to prove."""
    for rule in vars(rules_for(type(estimator))).values():
        if isinstance(rule, kind):
            return rule
    unproved = [each for each in kind.__subclasses__() if type(estimator) in each.estimators]
    assert unproved
    assert not any(rule().is_proved_here() for rule in unproved)
    pytest.skip(f"{unproved[0].__name__} is in force on no scikit-learn but {' and '.join(unproved[0].proved_on)}")


def assert_nested_fits_are_plain_fits(
    estimator: Any,
    variants: Sequence[Mapping[str, Any]],
    X: Any,
    y: Any,
    X_test: Any,
    *,
    fit_params: Mapping[str, Any] | None = None,
    attributes: Sequence[str] = (),
) -> list[tuple[Any, Any]]:
    """Each variant fitted by the rule predicts, on test and on training rows, what a fit of its own does.

    Those of ``attributes`` that a fit of its own has are the same, too. Returns each variant as the rule has fitted it, and as it is
    fitted plainly, for what else is to be compared.
    """
    rule = rule_of(NestedFit, estimator)
    unfitted = [clone(estimator).set_params(**variant) for variant in variants]
    assert rule.applies(unfitted[0], X, y)
    assert all(map(rule.accepts, unfitted))
    fitted = list(rule.fit(unfitted, X, y, fit_params or {}))
    pairs: list[tuple[Any, Any]] = []
    for variant, shared in zip(variants, fitted, strict=True):
        plain = clone(estimator).set_params(**variant).fit(X, y, **(fit_params or {}))
        wanted = {id(rows): predictions(plain, rows) for rows in (X_test, X)}
        # twice on the test rows: what is remembered must be right the second time too
        for rows in (X_test, X, X_test):
            assert_predicts(shared, rows, wanted[id(rows)], variant)
        assert shared.get_params(deep=False).keys() == plain.get_params(deep=False).keys()
        for name, value in variant.items():
            assert getattr(shared, name) is value
        for name in attributes:
            assert hasattr(shared, name) == hasattr(plain, name), name
            assert_same_bits(getattr(shared, name, None), getattr(plain, name, None), f"{name} {variant}")
        pairs.append((shared, plain))
    return pairs


def assert_same_predictions(shared: Any, plain: Any, X: Any, what: Any = "") -> None:
    """Every method of prediction that the plain fit has."""
    assert_predicts(shared, X, predictions(plain, X), what)


def predictions(plain: Any, X: Any) -> dict[str, Any]:
    """What each method of prediction says that the estimator has."""
    with np.errstate(divide="ignore"):  # the logarithm of no probability at all
        return {method: getattr(plain, method)(X) for method in METHODS if hasattr(plain, method)}


def assert_predicts(shared: Any, X: Any, wanted: Mapping[str, Any], what: Any = "") -> None:
    """Each of these methods says what is wanted, to the bit."""
    with np.errstate(divide="ignore"):
        for method, answer in wanted.items():
            given = getattr(shared, method)(X)
            assert_same_bits(given, answer, f"{method} {what}")
            if isinstance(given, np.ndarray) and given.flags.writeable:
                given[...] = given[:1]  # the caller may write into the answer, and nobody else may see that


class PlainFit:
    """A fit that others must not differ from, made once for all of them: what it warns of, predicts and has."""

    def __init__(self, estimator: Any, X: Any, y: Any, *, attributes: Sequence[str] = (), **fit_params: Any) -> None:
        self._data = X, y, fit_params
        self._attributes = attributes
        self._plain, self._told = self._fitted(estimator)
        self._predictions = predictions(self._plain, X)

    def _fitted(self, estimator: Any) -> tuple[Any, list[type]]:
        X, y, fit_params = self._data
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            fitted = clone(estimator).fit(X, y, **fit_params)
        # of one and the same kind, whatever numbers they name
        return fitted, [each.category for each in told]

    def assert_same(self, other: Any, what: Any) -> None:
        """A fit of another estimator on the same rows does not differ."""
        fitted, told = self._fitted(other)
        assert told == self._told, what
        assert_predicts(fitted, self._data[0], self._predictions, what)
        for name in self._attributes:
            assert_same_bits(getattr(fitted, name), getattr(self._plain, name), f"{name} {what}")


def assert_nested_transforms_are_plain(
    transformer: Any, variants: Sequence[Mapping[str, Any]], X: Any, y: Any, X_test: Any
) -> list[tuple[Any, Any]]:
    """Each variant had by the rule transforms as a fit of its own does: bits and memory layout. Returns both of each variant."""
    rule = rule_of(NestedTransform, transformer)
    common: Any = None
    pairs: list[tuple[Any, Any]] = []
    for variant in variants:
        unfitted = clone(transformer).set_params(**variant)
        assert rule.applies(unfitted, X), variant
        common = rule.fit(clone(unfitted), X, y) if common is None else common
        Xt, shared = rule.derive(common, unfitted, X)
        plain = clone(transformer).set_params(**variant)
        expected = plain.fit_transform(X, y)
        for given, wanted in ((Xt, expected), (shared.transform(X_test), plain.transform(X_test))):
            assert type(given) is type(wanted), variant
            if isinstance(wanted, pd.DataFrame):
                pd.testing.assert_frame_equal(given, wanted)
            assert_same_bits(given, wanted, str(variant))
            assert_same_layout(given, wanted)
        pairs.append((shared, plain))
    return pairs


def assert_same_layout(one: Any, other: Any) -> None:
    """The next step may give other bits for another order of the same numbers in memory."""
    if sparse.issparse(other):
        assert one.format == other.format
    elif isinstance(other, np.ndarray):
        assert (one.flags.c_contiguous, one.flags.f_contiguous) == (other.flags.c_contiguous, other.flags.f_contiguous)
        assert one.strides == other.strides
