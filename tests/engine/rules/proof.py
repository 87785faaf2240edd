"""What every proof of a rule does: fit by the rule, fit plainly, compare every prediction to the bit."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone

from tests.engine.bits import assert_same_bits
from tuningjob.engine.rules.base import NestedFit, NestedTransform, Rule, rules_for

METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function")
_Kind = TypeVar("_Kind", bound=Rule)


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
) -> None:
    """Each variant fitted by the rule predicts, on test and on training rows, what a fit of its own does.

    Those of ``attributes`` that a fit of its own has are the same, too.
    """
    rule = rule_of(NestedFit, estimator)
    unfitted = [clone(estimator).set_params(**variant) for variant in variants]
    assert rule.applies(unfitted[0], X, y)
    assert all(map(rule.accepts, unfitted))
    fitted = list(rule.fit(unfitted, X, y, fit_params or {}))
    for variant, shared in zip(variants, fitted, strict=True):
        plain = clone(estimator).set_params(**variant).fit(X, y, **(fit_params or {}))
        # twice on the test rows: what is remembered must be right the second time too
        for rows in (X_test, X, X_test):
            assert_same_predictions(shared, plain, rows, variant)
        assert shared.get_params(deep=False).keys() == plain.get_params(deep=False).keys()
        for name, value in variant.items():
            assert getattr(shared, name) is value
        for name in attributes:
            assert hasattr(shared, name) == hasattr(plain, name), name
            assert_same_bits(getattr(shared, name, None), getattr(plain, name, None), f"{name} {variant}")


def assert_same_predictions(shared: Any, plain: Any, X: Any, what: Any = "") -> None:
    """Every method of prediction that the plain fit has."""
    with np.errstate(divide="ignore"):  # the logarithm of no probability at all
        for method in (name for name in METHODS if hasattr(plain, name)):
            given = getattr(shared, method)(X)
            assert_same_bits(given, getattr(plain, method)(X), f"{method} {what}")
            if isinstance(given, np.ndarray) and given.flags.writeable:
                given[...] = given[:1]  # the caller may write into the answer, and nobody else may see that


def assert_nested_transforms_are_plain(
    transformer: Any, variants: Sequence[Mapping[str, Any]], X: Any, y: Any, X_test: Any
) -> None:
    """Each variant had by the rule transforms as a fit of its own does: bits and memory layout."""
    rule = rule_of(NestedTransform, transformer)
    common: Any = None
    for variant in variants:
        unfitted = clone(transformer).set_params(**variant)
        assert rule.applies(unfitted, X), variant
        common = rule.fit(clone(unfitted), X, y) if common is None else common
        Xt, shared = rule.derive(common, unfitted, X)
        plain = clone(transformer).set_params(**variant)
        expected = plain.fit_transform(X, y)
        assert_same_layout(Xt, expected)
        for given, wanted in ((Xt, expected), (shared.transform(X_test), plain.transform(X_test))):
            assert_same_bits(given, wanted, str(variant))
        assert_same_layout(shared.transform(X_test), plain.transform(X_test))


def assert_same_layout(one: Any, other: Any) -> None:
    """The next step may give other bits for another order of the same numbers in memory."""
    if sparse.issparse(other):
        assert one.format == other.format
    elif isinstance(other, np.ndarray):
        assert (one.flags.c_contiguous, one.flags.f_contiguous) == (other.flags.c_contiguous, other.flags.f_contiguous)
        assert one.strides == other.strides
