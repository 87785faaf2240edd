"""The kinds of rules, and the register of them."""

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any, ClassVar, Final, TypeVar

import sklearn

from tuningjob.aliases import Estimator, Matrix, ParamValue, Target
from tuningjob.engine.sklearn_private import PROVED_ON

ENTRY_POINTS: Final = "tuningjob.rules"
# The versions of scikit-learn on which a rule's proof was run (`make test-versions`). A rule that does not say so was proved
# on the newest alone.
FROM_1_8: Final = ("1.8.", "1.9.")
_NEWEST: Final = PROVED_ON["scikit-learn"][-1:]
_PACKAGE: Final = "tuningjob.engine.rules"


class Rule(ABC):
    """What a rule is about. It holds for the exact classes alone: a subclass may do anything.

    ``estimators``: the classes; ``parameters``: the ones that candidates may differ in; ``proof``: the test that shows it to
    the bit; ``proved_on``: the versions of the estimators' package (beginnings of them) that the proof was run on.
    """

    estimators: ClassVar[tuple[type, ...]]
    parameters: ClassVar[tuple[str, ...]]
    proof: ClassVar[str]
    proved_on: ClassVar[tuple[str, ...]] = _NEWEST

    def knows(self, estimator: Estimator) -> bool:  # noqa: ARG002
        """Whether an estimator of another package than scikit-learn is known with these parameters (see ``engine.known``)."""
        return True

    def is_proved_here(self) -> bool:
        """Whether the proof was run on the version that is installed. A rule for another package's estimators overrides this."""
        return str(sklearn.__version__).startswith(self.proved_on)


class NestedFit(Rule):
    """A final estimator whose fit at one value of ``parameters`` contains those at others."""

    @abstractmethod
    def applies(self, estimator: Estimator, X: Matrix, y: Target) -> bool:
        """Whether an unfitted estimator with data of this kind can be served, whatever its ``parameters``.

        Seeds are looked at before: an estimator that draws unseeded never gets here.
        """

    @abstractmethod
    def accepts(self, estimator: Estimator) -> bool:
        """Whether the estimator's own values of ``parameters`` are such that the shared fit serves it."""

    @abstractmethod
    def fit(
        self,
        estimators: Sequence[Estimator],
        X: Matrix,
        y: Target,
        fit_params: Mapping[str, Any],
    ) -> Iterator[Any]:
        """Fitted estimators, one for each unfitted one, in their order.

        They differ in ``parameters`` only, and in what an Inert rule says does not matter. Each result is in the state that a
        fit of its own would have left: every prediction has the same bits. What is costly is done at the first, so that later
        ones may be had lazily.
        """


class NestedTransform(Rule):
    """A transformer whose fit at one value of ``parameters`` contains those at others."""

    @abstractmethod
    def applies(self, transformer: Estimator, X: Matrix) -> bool:
        """Whether an unfitted transformer, its own ``parameters`` included, can be served on data of this kind."""

    @abstractmethod
    def fit(self, transformer: Estimator, X: Matrix, y: Target) -> Estimator:
        """The work that all of them have in common, as ``derive`` needs it. The transformer itself must not be changed."""

    @abstractmethod
    def derive(self, common: Estimator, transformer: Estimator, X: Matrix) -> tuple[Any, Any]:
        """``fit_transform(X)`` to the bit and in the same memory layout, and the fitted transformer."""

    def transform(self, fitted: Estimator, X: Matrix) -> Matrix:
        """``fitted.transform(X)`` to the bit, of a transformer that ``derive`` has made; perhaps sooner."""
        return fitted.transform(X)


class Inert(Rule):
    """Parameters that cannot matter where others have certain values: candidates that differ in them are one fit."""

    @abstractmethod
    def normal_form(self, estimator: Estimator, X: Matrix = None) -> Mapping[str, Any]:
        """Values that stand for the estimator's own: two estimators that are equal under them are fitted to equal bits by X.

        ``X``: None where the data are not known, so that nothing is said that depends on them.
        """


class Ceiling(Rule):
    """One limit (``parameters`` has one name) that does nothing once it is above what the fit reached."""

    @abstractmethod
    def height(self, value: ParamValue) -> float | None:
        """A value of the limit as a number, infinite for none; None if it is no valid one."""

    @abstractmethod
    def reached(self, fitted: Estimator) -> float:
        """What the fit reached: every limit *above* it would have given the same bits. Infinite if that cannot be told."""


@dataclass(frozen=True)
class Rules:
    """The rules for one class of estimators, at most one of each kind."""

    nested: NestedFit | None = None
    transform: NestedTransform | None = None
    inert: Inert | None = None
    ceiling: Ceiling | None = None


_KINDS: Final[dict[str, type[Rule]]] = {
    "nested": NestedFit,
    "transform": NestedTransform,
    "inert": Inert,
    "ceiling": Ceiling,
}
_NONE: Final = Rules()
# The modules of this package by the part of scikit-learn, or of another package, that they have rules for: a search imports
# those of its own estimators, because each imports that part, which costs a new process more than many a fit.
MODULES: Final[Mapping[str, str]] = {
    "lightgbm.sklearn": "lightgbm_rounds",
    "sklearn.decomposition": "pca",
    "sklearn.ensemble": "adaboost bagging forest gradient_boosting hist_gradient_boosting stacking tree_depth tree_growth voting",
    "sklearn.feature_extraction": "documents",
    "sklearn.feature_selection": "recursive_elimination select_from_model select_k_best",
    "sklearn.linear_model": "iterations logistic_solver ridge sgd_schedule",
    "sklearn.neighbors": "neighbor_search neighbors",
    "sklearn.neural_network": "iterations_of_networks network_solver",
    "sklearn.svm": "iterations svm_iterations svm_kernel",
    "sklearn.tree": "tree_depth tree_growth tree_size",
    "xgboost.sklearn": "xgboost_rounds",
}
_rules: Final[dict[type, Rules]] = {}
_R = TypeVar("_R", bound=type[Rule])


def register(rule: _R) -> _R:
    """Add a rule (a class without arguments; usable as a decorator). A later one for the same class and kind takes over.

    The rules of this package are imported when they are first needed, so they never take over from others.
    """
    for name, kind in _KINDS.items():
        if issubclass(rule, kind):
            made = rule()
            changed: dict[str, Any] = {name: made}
            for estimator in made.estimators if made.is_proved_here() else ():
                known = _rules.get(estimator, _NONE)
                present = getattr(known, name)
                if present is None or not _is_ours(rule) or _is_ours(type(present)):
                    _rules[estimator] = replace(known, **changed)
            return rule
    raise TypeError(f"a rule must be one of {[kind.__name__ for kind in _KINDS.values()]}, but got {rule!r}")


def _is_ours(rule: type[Rule]) -> bool:
    return rule.__module__.startswith(f"{_PACKAGE}.")


@cache
def load_rules() -> None:
    """Import every rule of this package whose estimators are installed, and those that other packages offer. Once."""
    absent = {
        name for part, names in MODULES.items() if find_spec(part.partition(".")[0]) is None for name in names.split()
    }
    for module in pkgutil.iter_modules(importlib.import_module(_PACKAGE).__path__):
        if module.name not in absent:
            importlib.import_module(f"{_PACKAGE}.{module.name}")
    _load_entry_points()


@cache
def _load_entry_points() -> None:
    for entry in entry_points(group=ENTRY_POINTS):
        entry.load()


@cache
def _load_rules_about(part: str) -> None:
    for name in MODULES.get(part, "").split():
        importlib.import_module(f"{_PACKAGE}.{name}")


def rules_for(estimator: type) -> Rules:
    """The rules for an estimator's exact class, as far as they were proved on the version at hand."""
    module = getattr(estimator, "__module__", None)
    if type(module) is str:
        _load_rules_about(".".join(module.split(".")[:2]))
    _load_entry_points()
    return _rules.get(estimator, _NONE)


def rules_by_hand() -> list[type[Rule]]:
    """Those that no other process finds by itself."""
    _load_entry_points()
    return [type(rule) for rule in _registered() if not _is_ours(type(rule))]


def all_rules() -> list[Rule]:
    """Every rule that holds here, once each."""
    load_rules()
    return _registered()


def _registered() -> list[Rule]:
    return list(dict.fromkeys(rule for rules in _rules.values() for rule in vars(rules).values() if rule is not None))
