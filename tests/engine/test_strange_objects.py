"""Estimators and parameters that are no trees of plain objects: looking at them neither raises nor goes on for ever.

Where scikit-learn's search has results, or an error of its own, so has ours.
"""

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from tests.engine.compare import assert_same_search
from tests.engine.fresh import in_a_fresh_process
from tuningjob.engine.fingerprint import UNTOLD, estimators_within, fingerprint, nested_estimators, of_estimator
from tuningjob.engine.seeds import is_repeatable

X, y = (data[::3] for data in load_iris(return_X_y=True))


class Constant(ClassifierMixin, BaseEstimator):
    """Predicts one class and ignores every other argument."""

    def __init__(self, label: int = 0, what: Any = None) -> None:
        self.label = label
        self.what = what

    def fit(self, X: Any, y: Any) -> "Constant":
        self.classes_ = np.unique(y)
        return self

    def predict(self, X: Any) -> Any:
        return np.full(len(X), self.classes_[self.label])


class Part(BaseEstimator):
    """Knows whose part it is."""

    def __init__(self, owner: Any = None) -> None:
        self.owner = owner


class Owner(Constant):
    """Has a part that refers back to it, and is its own model once it is fitted."""

    def __init__(self, label: int = 0, what: Any = None) -> None:
        super().__init__(label, what)
        self.part = Part(self)

    def fit(self, X: Any, y: Any) -> "Owner":
        super().fit(X, y)
        self.model_ = self
        return self


class OwningTransformer(TransformerMixin, BaseEstimator):
    """The same, before a model."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor
        self.part = [Part(self)]

    def fit(self, X: Any, y: Any = None) -> "OwningTransformer":
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: Any) -> Any:
        return X * self.factor


class SlottedTransformer(TransformerMixin, BaseEstimator):
    """Its parameter is not in ``vars``."""

    __slots__ = ("_factor",)

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor

    @property
    def factor(self) -> float:
        return self._factor

    @factor.setter
    def factor(self, factor: float) -> None:
        self._factor = factor

    def fit(self, X: Any, y: Any = None) -> "SlottedTransformer":
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def transform(self, X: Any) -> Any:
        return X**self.factor


class Slotted:
    """A model without ``__dict__``, which is no BaseEstimator."""

    __slots__ = ("classes_", "label")

    def __init__(self, label: int = 0) -> None:
        self.label = label

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {"label": self.label}

    def set_params(self, **params: Any) -> "Slotted":
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def fit(self, X: Any, y: Any) -> "Slotted":
        self.classes_ = np.unique(y)
        return self

    def score(self, X: Any, y: Any) -> float:
        return float(np.mean(y == self.classes_[self.label]))


class SecretAttributes(Constant):
    """Raises when it is asked for what it does not have to have."""

    @property
    def random_state(self) -> NoReturn:
        raise RuntimeError("do not look at me")


class NoDict(Constant):
    """Hides its attributes."""

    @property
    def __dict__(self) -> NoReturn:  # type: ignore[override]
        raise RuntimeError("do not look at me")


class Secret:
    """No estimator, and raises at almost anything."""

    @property
    def get_params(self) -> NoReturn:
        raise RuntimeError("do not look at me")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("do not compare me")

    def __hash__(self) -> int:
        raise RuntimeError("do not hash me")

    def __bool__(self) -> bool:
        raise RuntimeError("do not ask me")

    def __repr__(self) -> str:
        return "Secret()"


class Unpicklable:
    def __reduce__(self) -> NoReturn:
        raise RuntimeError("do not pickle me")

    def __deepcopy__(self, memo: object) -> "Unpicklable":
        return self

    def __repr__(self) -> str:
        return "Unpicklable()"


class NoParams(Part):
    def get_params(self, deep: bool = True) -> NoReturn:
        raise RuntimeError("I have none")


class OddText(str):  # noqa: SLOT000  as a user writes it
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("do not compare me")

    __hash__ = str.__hash__


def list_in_itself() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


def dict_in_itself() -> Any:
    value: dict[str, Any] = {}
    value["it"] = value
    return value


def array_in_itself() -> Any:
    value = np.empty(1, dtype=object)
    value[0] = value
    return value


def deep() -> Any:
    value: Any = 1
    for _ in range(5_000):
        value = [value]
    return value


def wide() -> Any:
    """Sixty lists in memory, with more ends than there are seconds (scikit-learn's clone would go to each of them)."""
    value: Any = 1
    for _ in range(60):
        value = [value, value]
    return value


VALUES: Mapping[str, Callable[[], Any]] = {
    "secret": Secret,
    "unpicklable": Unpicklable,
    "no params": NoParams,
    "odd text": lambda: OddText("text"),
    "list in itself": list_in_itself,
    "dict in itself": dict_in_itself,
    "array in itself": array_in_itself,
    "deep": deep,
    "set": lambda: {1, 2},
    "class": lambda: LogisticRegression,
    "module": lambda: np,
}

scaled = [("scale", StandardScaler()), ("model", Constant())]
SEARCHES: Mapping[str, tuple[Any, Any, Mapping[str, Any]]] = {
    "a part that refers back": (Owner(), {"label": [0, 1, 2]}, {}),
    "a transformer's part that refers back": (
        Pipeline([("step", OwningTransformer()), ("model", LogisticRegression())]),
        {"step__factor": [1.0, 2.0], "model__C": [0.1, 1.0]},
        {},
    ),
    "parts that refer back as values": (Pipeline(scaled), {"model": [Owner(0), Owner(1)]}, {}),
    "parts that refer back in a list": (Constant(what=[Owner()]), {"label": [0, 1]}, {}),
    "no __dict__": (Slotted(), {"label": [0, 1, 2]}, {}),
    "no __dict__ as a pipeline's last step": (Pipeline([("scale", StandardScaler()), ("model", Slotted())]), {}, {}),
    "no __dict__ in a pipeline": (
        Pipeline([("step", Slotted()), ("model", LogisticRegression())]),
        {"model__C": [0.1, 1.0]},
        {},
    ),
    "a parameter in a slot": (
        Pipeline([("step", SlottedTransformer()), ("model", LogisticRegression())]),
        {"step__factor": [0.0, 1.0, 2.0], "model__C": [0.1, 1.0]},
        {},
    ),
    "passthrough as the last step, later": (
        Pipeline([("scale", StandardScaler()), ("model", LogisticRegression())]),
        {"model": [LogisticRegression(), "passthrough", None]},
        {},
    ),
    "passthrough as the last step, first": (
        Pipeline([("scale", StandardScaler()), ("model", LogisticRegression())]),
        {"model": ["passthrough", LogisticRegression()]},
        {},
    ),
    "passthrough that is scored": (
        Pipeline([("scale", StandardScaler()), ("model", StandardScaler())]),
        {"model": [StandardScaler(), "passthrough"], "scale__with_mean": [True, False]},
        {"scoring": lambda estimator, X, _: float(estimator.transform(X).sum())},
    ),
    "steps that are no estimators": (
        Pipeline([("scale", StandardScaler()), ("model", LogisticRegression())]),
        {"model": [LogisticRegression(), 3, "x", object, LogisticRegression]},
        {},
    ),
    "an attribute that raises": (SecretAttributes(), {"label": [0, 1]}, {}),
    "an attribute that raises in a pipeline": (
        Pipeline([("scale", StandardScaler()), ("model", SecretAttributes())]),
        {"model__label": [0, 1], "scale__with_mean": [True, False]},
        {},
    ),
    "hidden attributes": (NoDict(), {"label": [0, 1]}, {}),
    "an invalid parameter that cannot be hashed": (LogisticRegression(solver=["lbfgs"]), {"C": [0.1, 1.0]}, {}),
    **{f"{name} as a parameter": (Constant(what=make()), {"label": [0, 1]}, {}) for name, make in VALUES.items()},
    **{
        f"{name} as a transformer's": (
            Pipeline([("step", FunctionTransformer(inv_kw_args={"what": make()})), ("model", LogisticRegression())]),
            {"model__C": [0.1, 1.0]},
            {},
        )
        for name, make in VALUES.items()
    },
}


@pytest.mark.alike
@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_of_strange_objects_is_scikit_learns(name: str) -> None:
    estimator, grid, settings = SEARCHES[name]
    assert_same_search(estimator, grid, X, y, n_jobs=1, cv=2, **settings)


@pytest.mark.slow
@in_a_fresh_process
def test_a_search_of_strange_objects_is_scikit_learns_in_processes_too() -> None:
    for estimator, grid, settings in SEARCHES.values():
        assert_same_search(estimator, grid, X, y, n_jobs=2, cv=2, **settings)


@pytest.mark.parametrize("name", VALUES)
def test_what_cannot_be_told_is_itself_and_nothing_else(name: str) -> None:
    value, other = VALUES[name](), VALUES[name]()
    assert hash(fingerprint(value)) == hash(fingerprint(value))
    assert fingerprint(value) == fingerprint(value)
    if name in {"unpicklable", "list in itself", "dict in itself", "deep"}:
        assert fingerprint(value) != fingerprint(other)
        assert of_estimator(Constant(what=value)) != of_estimator(Constant(what=other))


@pytest.mark.slow
def test_looking_at_a_value_with_too_many_ends_ends() -> None:
    value = wide()
    assert fingerprint(value) == fingerprint(value)
    assert fingerprint(value) != fingerprint(wide())
    assert len(list(nested_estimators(Constant(what=[value, Owner()])))) == 3


def test_what_is_in_a_slot_tells_estimators_apart() -> None:
    assert fingerprint(SlottedTransformer(1.0)) == fingerprint(SlottedTransformer(1.0))
    assert fingerprint(SlottedTransformer(1.0)) != fingerprint(SlottedTransformer(2.0))


def test_values_of_classes_that_add_something_are_told_apart_by_it() -> None:
    class Length(float):
        unit = ""

    metres, feet = Length(1.0), Length(1.0)
    metres.unit, feet.unit = "m", "ft"
    assert fingerprint(metres) != fingerprint(feet)


def test_an_estimator_that_refers_to_itself_is_met_once_and_may_be_seeded_or_not() -> None:
    owner = Owner(what=[DecisionTreeClassifier(random_state=0)])
    assert [type(each).__name__ for each in nested_estimators(owner)] == ["Owner", "DecisionTreeClassifier", "Part"]
    assert is_repeatable(owner)
    assert not is_repeatable(Owner(what={"inner": DecisionTreeClassifier()}))


def test_what_cannot_be_looked_into_may_draw_anything() -> None:
    assert list(nested_estimators(Constant(what=[NoDict()])))[-1] is UNTOLD
    assert list(estimators_within(NoDict())) == [UNTOLD]
    assert not is_repeatable(NoDict())
    assert not is_repeatable(SecretAttributes())


@st.composite
def graphs(draw: st.DrawFn) -> Any:
    """Lists, dicts, arrays and estimators that refer to each other, and to themselves, as they like."""
    kinds: list[Callable[[], Any]] = [list, dict, Constant, lambda: np.empty(2, object)]
    nodes = [make() for make in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=6))]
    numbers = st.integers(0, len(nodes) - 1)
    for _ in range(draw(st.integers(0, 12))):
        owner, part = nodes[draw(numbers)], nodes[draw(numbers)]
        if isinstance(owner, list):
            owner.append(part)
        elif isinstance(owner, dict):
            owner[len(owner)] = part
        elif isinstance(owner, Constant):
            owner.what = part
        else:
            owner[0] = part
    return nodes[0]


@pytest.mark.slow
@given(graphs())
def test_whatever_refers_to_whatever_looking_at_it_ends(value: Any) -> None:
    assert hash(fingerprint(value)) == hash(fingerprint(value))
    assert len(list(nested_estimators(Constant(what=value)))) <= 7
    assert is_repeatable(Constant(what=value)) in {True, False}
