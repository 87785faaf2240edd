"""The kinds of rules, and their register."""

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
# The versions of scikit-learn on which a rule's proof was run (`make test-versions`). A rule without it was proved only on the
# newest version.
FROM_1_8: Final = ("1.8.", "1.9.")
_NEWEST: Final = PROVED_ON["scikit-learn"][-1:]
_PACKAGE: Final = "tuningjob.engine.rules"


class Rule(ABC):
    """The subject of a rule. It holds only for the exact classes, because a subclass may do anything.

    ``estimators`` are the classes. ``parameters`` are those in which candidates may differ. ``proof`` is the test that shows the
    rule to the bit. ``proved_on`` has the beginnings of the versions of the estimators' package on which the proof was run.
    """

    estimators: ClassVar[tuple[type, ...]]
    parameters: ClassVar[tuple[str, ...]]
    proof: ClassVar[str]
    proved_on: ClassVar[tuple[str, ...]] = _NEWEST

    def knows(self, estimator: Estimator) -> bool:  # noqa: ARG002
        """Whether an estimator of another package than scikit-learn is known with these parameters (see ``engine.known``)."""
        return True

    def is_proved_here(self) -> bool:
        """Whether the proof was run on the installed version. A rule for another package's estimators overrides this."""
        return str(sklearn.__version__).startswith(self.proved_on)


class NestedFit(Rule):
    """A rule for a final estimator whose fit at one value of ``parameters`` contains the fits at others."""

    @abstractmethod
    def applies(self, estimator: Estimator, X: Matrix, y: Target) -> bool:
        """Whether the rule can serve an unfitted estimator on such data, for any values of its ``parameters``.

        Seeds are checked before, so this never gets an estimator that draws without a seed.
        """

    @abstractmethod
    def accepts(self, estimator: Estimator) -> bool:
        """Whether the shared fit serves the estimator's own values of ``parameters``."""

    @abstractmethod
    def fit(
        self,
        estimators: Sequence[Estimator],
        X: Matrix,
        y: Target,
        fit_params: Mapping[str, Any],
    ) -> Iterator[Any]:
        """Fitted estimators, one for each unfitted one, in their order.

        They differ only in ``parameters``, and in parameters without effect by an Inert rule. Each result is in the state that a
        plain fit would have left, and every prediction has the same bits. The costly work is done for the first one, so that
        later ones can be made lazily.
        """


class NestedTransform(Rule):
    """A rule for a transformer whose fit at one value of ``parameters`` contains the fits at others."""

    @abstractmethod
    def applies(self, transformer: Estimator, X: Matrix) -> bool:
        """Whether the rule can serve an unfitted transformer, with its own ``parameters``, on such data."""

    @abstractmethod
    def fit(self, transformer: Estimator, X: Matrix, y: Target) -> Estimator:
        """The common work of all such transformers, in the form that ``derive`` needs. It must not change the transformer."""

    @abstractmethod
    def derive(self, common: Estimator, transformer: Estimator, X: Matrix) -> tuple[Any, Any]:
        """The result of ``fit_transform(X)``, to the bit and in the same memory layout, and the fitted transformer."""

    def transform(self, fitted: Estimator, X: Matrix) -> Matrix:
        """The result of ``fitted.transform(X)``, to the bit but perhaps sooner, for a transformer that ``derive`` has made."""
        return fitted.transform(X)


class Inert(Rule):
    """A rule for parameters without effect if others have certain values: candidates that differ only in them share a fit."""

    @abstractmethod
    def normal_form(self, estimator: Estimator, X: Matrix = None) -> Mapping[str, Any]:
        """Values that replace the estimator's own: two estimators that are equal with them are fitted to equal bits by X.

        ``X`` is None if the data are not known; then the values must not depend on them.
        """


class Ceiling(Rule):
    """A rule for a limit (the one name in ``parameters``) that has no effect above the value that the fit reached."""

    @abstractmethod
    def height(self, value: ParamValue) -> float | None:
        """A value of the limit as a number, infinite for no limit; None if it is invalid."""

    @abstractmethod
    def reached(self, fitted: Estimator) -> float:
        """The value that the fit reached: every limit *above* it would have given the same bits. Infinite if it is unknown."""


@dataclass(frozen=True)
class Rules:
    """The rules for one class of estimators, with at most one of each kind."""

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
# The modules of this package by the part of scikit-learn, or of another package, for which they have rules. A search imports only
# those of its own estimators, because each imports that part, which costs a new process more than many fits.
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
    """Add a rule (a class without arguments; usable as a decorator). It replaces an earlier one for the same class and kind.

    The rules of this package are imported when they are first needed, and never replace others.
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
    """Import, once, every rule of this package whose estimators are installed, and the rules that other packages offer."""
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
    """The rules for an estimator's exact class that were proved on the installed version."""
    module = getattr(estimator, "__module__", None)
    if type(module) is str:
        _load_rules_about(".".join(module.split(".")[:2]))
    _load_entry_points()
    return _rules.get(estimator, _NONE)


def rules_by_hand() -> list[type[Rule]]:
    """The registered rules that no other process finds by itself."""
    _load_entry_points()
    return [type(rule) for rule in _registered() if not _is_ours(type(rule))]


def all_rules() -> list[Rule]:
    """Every rule that holds on the installed versions, once each."""
    load_rules()
    return _registered()


def _registered() -> list[Rule]:
    return list(dict.fromkeys(rule for rules in _rules.values() for rule in vars(rules).values() if rule is not None))
