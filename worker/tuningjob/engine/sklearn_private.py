"""The only module that uses private names of scikit-learn, joblib and narwhals.

Those of XGBoost and LightGBM are at the end; their rules say on which versions they were proved.

``PROVED_ON`` says on which versions these names were proved to mean what this module says. On another version:

- of scikit-learn: nothing is shared and nothing is replaced (``rules``, ``known``, ``patches`` and ``lean`` ask
  ``is_proved``), so every fit is made by scikit-learn's own code: the same results, later;
- of scikit-learn or joblib: ``GridSearchCV`` and ``RandomizedSearchCV`` leave the evaluation to scikit-learn's own search;
- of narwhals: its two functions are not replaced.

An ``UnprovedVersion`` warning says so once in a process. A missing name is an ImportError that says which versions to install.

A test (tests/engine/test_one_door.py) and the linter (SLF001) check that no other module imports or reads a private name of these
packages. Names in modules of scikit-learn that are slow to import are imported when they are first used.
"""

import copy
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from types import CellType
from typing import Any, Final, NamedTuple

import joblib
import narwhals
import narwhals.stable.v2
import numpy as np
import sklearn
import sklearn.base
import sklearn.pipeline
from sklearn import config_context
from sklearn.utils import estimator_html_repr

from tuningjob.aliases import AnyScorer, Anything, Estimator, Matrix, ParamValue, Target
from tuningjob.engine.interrupts import to_the_end

PROVED_ON: Final[Mapping[str, tuple[str, ...]]] = {
    "scikit-learn": ("1.8.", "1.9."),
    "joblib": ("1.6.",),
    "narwhals": ("2.",),
}
_PACKAGES: Final = {"scikit-learn": sklearn, "joblib": joblib, "narwhals": narwhals}
_VERSION: Final = tuple(map(int, str(sklearn.__version__).split(".")[:2]))
# Since 1.9 searches and pipelines hand on a context for callbacks, which are notified of fits, and narwhals checks each X.
HAS_CALLBACKS: Final = _VERSION >= (1, 9)
ASKS_NARWHALS: Final = _VERSION >= (1, 9)
# Since 1.9 gradient boosting takes "friedman_mse" for "squared_error".
BOOSTS_BY_SQUARED_ERROR: Final = _VERSION >= (1, 9)


class UnprovedVersion(UserWarning):
    """An installed version of a package was never proved, so nothing is shared: fits are scikit-learn's own, and slower."""


@cache
def is_proved(package: str = "scikit-learn") -> bool:
    """Whether this module's statements about a package were proved on its installed version."""
    return str(_PACKAGES[package].__version__).startswith(PROVED_ON[package])


@cache
def warn_if_unproved() -> None:
    """Warn, once in a process, that a version was never proved, and of the consequence."""
    if not all(map(is_proved, _PACKAGES)):
        warnings.warn(
            f"{_not_proved()} Results are the same, but work that candidates have in common may be done for each of them.",
            UnprovedVersion,
            stacklevel=3,
        )


def _not_proved() -> str:
    return " ".join(
        f"{name} {_PACKAGES[name].__version__} is installed, but tuningjob was proved on {name} "
        f"{' and '.join(f'{beginning}*' for beginning in beginnings)}."
        for name, beginnings in PROVED_ON.items()
        if not is_proved(name)
    )


try:
    from joblib._utils import eval_expr
    from sklearn.compose import _column_transformer as column_transformer
    from sklearn.linear_model._base import _preprocess_data, _rescale_data
    from sklearn.linear_model._ridge import _solve_cholesky_kernel as solve_cholesky_kernel
    from sklearn.metrics._scorer import _MultimetricScorer as MultimetricScorer
    from sklearn.metrics._scorer import _PassthroughScorer as PassthroughScorer
    from sklearn.metrics._scorer import _Scorer as Scorer

    # public only after `from sklearn.experimental import enable_halving_search_cv`, which changes sklearn for the whole process
    from sklearn.model_selection._search_successive_halving import HalvingGridSearchCV, HalvingRandomSearchCV
    from sklearn.model_selection._validation import _fit_and_score as fit_and_score
    from sklearn.model_selection._validation import _score as score
    from sklearn.pipeline import _fit_transform_one as fit_transform_one
    from sklearn.pipeline import _transform_one as transform_one
    from sklearn.utils._indexing import _safe_indexing as safe_indexing
    from sklearn.utils._metadata_requests import SIMPLE_METHODS
    from sklearn.utils._openmp_helpers import _openmp_effective_n_threads as openmp_threads
    from sklearn.utils._param_validation import (
        Interval,
        InvalidParameterError,
        RealNotInt,
        StrOptions,
        make_constraint,
        validate_parameter_constraints,
    )
    from sklearn.utils._set_output import _get_output_config as output_config
    from sklearn.utils.metaestimators import _BaseComposition as BaseComposition
    from sklearn.utils.validation import _check_method_params as check_method_params
    from sklearn.utils.validation import _check_sample_weight as check_sample_weight
    from sklearn.utils.validation import _num_samples as num_samples
except ImportError as error:
    raise ImportError(f"{error}. {_not_proved()}") from error

__all__ = [
    "SIMPLE_METHODS",
    "BaseComposition",
    "HalvingGridSearchCV",
    "HalvingRandomSearchCV",
    "Interval",
    "InvalidParameterError",
    "MultimetricScorer",
    "PassthroughScorer",
    "RealNotInt",
    "Scorer",
    "StrOptions",
    "check_method_params",
    "check_sample_weight",
    "column_transformer",
    "eval_expr",
    "fit_and_score",
    "fit_transform_one",
    "make_constraint",
    "num_samples",
    "openmp_threads",
    "output_config",
    "safe_indexing",
    "score",
    "solve_cholesky_kernel",
    "transform_one",
    "validate_parameter_constraints",
]

# --- places where the engine puts functions of its own while a search is in force (``engine.patches``)


class PatchedName(NamedTuple):
    """A name in a module or a class."""

    owner: Any
    name: str

    @property
    def now(self) -> Anything:
        """The current value of the name; for a class method, the object that the decorator made."""
        return vars(self.owner)[self.name]

    def put(self, value: ParamValue) -> None:
        """Give the name another value."""
        setattr(self.owner, self.name, value)


# Pipelines and unions call it, by this name in their module.
FIT_TRANSFORM_ONE: Final = PatchedName(sklearn.pipeline, "_fit_transform_one")
TRANSFORM_ONE: Final = PatchedName(sklearn.pipeline, "_transform_one")
# A pipeline's memory caches a function that calls _fit_transform_one. Before 1.9 it cached that function itself, which joblib
# identifies by its source: a replacement would clear the user's cache. So there the memory of a pipeline without one, and the
# function that makes jobs of a union's parts, are replaced instead.
IS_CACHED_ITSELF: Final = _VERSION < (1, 9)
PIPELINE_MEMORY: Final = PatchedName(sklearn.pipeline, "check_memory")
UNION_JOBS: Final = PatchedName(sklearn.pipeline, "delayed")
PIPELINE_STEPS: Final = PatchedName(sklearn.pipeline.Pipeline, "_iter")
# A column transformer compares the function that it was given with its module's, so that must stay. ``delayed``, which makes a
# job of it, is not compared with anything.
COLUMN_JOBS: Final = PatchedName(column_transformer, "delayed")
COLUMNS: Final = PatchedName(column_transformer, "_safe_indexing")
PARAM_NAMES: Final = PatchedName(sklearn.base.BaseEstimator, "_get_param_names")
IS_FRAME: Final = PatchedName(narwhals.stable.v2.dependencies, "is_into_dataframe")
IS_SERIES: Final = PatchedName(narwhals.stable.v2.dependencies, "is_into_series")

# --- attributes of estimators that are no parameters of theirs

# The attribute that a pipeline sets on a step during its fit, for callbacks; it has no effect on the fit.
CALLBACK_CONTEXT: Final = "_parent_callback_ctx"
CALLBACKS: Final = "_skl_callbacks"
METADATA_REQUEST: Final = "_metadata_request"
_CONSTRAINTS: Final = "_parameter_constraints"


def has_callbacks(estimator: Estimator) -> bool:
    """Whether callbacks are registered for this estimator's own fits."""
    return hasattr(estimator, CALLBACKS)


def constraints_of(kind: Anything) -> Mapping[str, Any]:
    """The constraints of a class' parameters, by name, that ``fit`` checks; empty for a class unlike scikit-learn's."""
    constraints: Mapping[str, Any] = getattr(kind, _CONSTRAINTS, {})
    return constraints


def declares_constraints(kind: type) -> bool:
    """Whether the class itself, not one of its base classes, declares constraints of its parameters."""
    return _CONSTRAINTS in vars(kind)


# --- scorers


def scorers_of(multimetric: Scorer) -> Mapping[str, Any]:
    """The scorer of each metric in a multimetric scorer, by its name."""
    scorers: Mapping[str, Any] = multimetric._scorers
    return scorers


def metric_of(scorer: AnyScorer) -> Anything:
    """The metric that a scorer calls; None if it has none."""
    return getattr(scorer, "_score_func", None)


def routed_params(search: Estimator, params: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The parameters of a search's ``fit`` that scikit-learn hands on to each fit, and those that it hands on to each scoring.

    Weights also go to a scorer that takes them, if they are called ``sample_weight``; weights of a pipeline's step do not.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The scoring .* does not support sample_weight", category=UserWarning)
        routed = search._get_routed_params_for_fit(dict(params))
    return routed.estimator.fit, routed.scorer.score


def tells_of_weights(scorer: AnyScorer) -> bool:
    """Whether scikit-learn's search can ask a scorer, among several and without metadata routing, if it takes weights."""
    return hasattr(scorer, "_accept_sample_weight")


def with_score_request(scorer: AnyScorer, weighted: bool) -> AnyScorer:  # noqa: FBT001  what scikit-learn's own method takes
    """A copy of a scorer whose ``set_score_request`` was called to ask for ``sample_weight``, or for none."""
    with config_context(enable_metadata_routing=True):
        return copy.deepcopy(scorer).set_score_request(sample_weight=weighted)


def metadata_asked(consumer: AnyScorer | Estimator) -> dict[tuple[str, str], Any]:
    """The metadata requests set on a scorer or an estimator, by method and name: True, False, or the name of the argument.

    The result is empty if none was set on the object itself, even if its class has requests.
    """
    request = vars(consumer).get(METADATA_REQUEST)
    return {
        (method, name): asked
        for method in (SIMPLE_METHODS if request is not None else ())
        for name, asked in getattr(request, method).requests.items()
        if asked is not None
    }


class RoutedScorer(MultimetricScorer):  # type: ignore[misc]
    """scikit-learn's multimetric scorer, with metadata routing always enabled: each metric gets the metadata that it requests."""

    def __call__(self, estimator: Estimator, *args: Anything, **params: Anything) -> dict[str, Any]:
        """The score of each metric, by its name."""
        with config_context(enable_metadata_routing=True):
            scores: dict[str, Any] = super().__call__(estimator, *args, **params)
        return scores


def routed(scorer: AnyScorer) -> RoutedScorer:
    """The same multimetric scorer, with metadata routing always enabled."""
    return RoutedScorer(scorers=scorer._scorers, raise_exc=scorer._raise_exc)


def metric_arguments(scorer: AnyScorer) -> Mapping[str, Any]:
    """The keyword arguments that a scorer hands to its metric."""
    arguments: Mapping[str, Any] = scorer._kwargs
    return arguments


def is_plainly(scorer: AnyScorer, metric: Callable[..., Any]) -> bool:
    """Whether a scorer is just this metric of the predictions, without arguments or change of sign."""
    return (
        scorer._score_func is metric
        and not scorer._kwargs
        and scorer._sign == 1
        and scorer._response_method == "predict"
    )


def sign_of(scorer: AnyScorer) -> int:
    """The sign of a scorer: 1 if greater values of its metric are better, -1 for a loss."""
    return int(scorer._sign)


def response_methods(scorer: AnyScorer) -> tuple[str, ...]:
    """The methods of an estimator among which a scorer calls the first existing one."""
    wanted = getattr(scorer, "_response_method", "predict")
    return (wanted,) if isinstance(wanted, str) else tuple(wanted)


# --- searches


def variables_of(evaluate_candidates: Callable[..., Any]) -> tuple[CellType, CellType] | None:
    """The variables of ``BaseSearchCV.fit`` that a search's evaluation reads: its ``joblib.Parallel``, and its estimator.

    ``fit`` and the inner function that it hands to ``_run_search`` share them during one call. None if they are not found, and
    on a version that was never proved.
    """
    if not (is_proved("scikit-learn") and is_proved("joblib")):
        return None
    shared = dict(zip(evaluate_candidates.__code__.co_freevars, evaluate_candidates.__closure__ or (), strict=True))
    parallel, estimator = shared.get("parallel"), shared.get("base_estimator")
    return None if parallel is None or estimator is None else (parallel, estimator)


def contexts(callback_ctx: Anything) -> dict[str, Any]:
    """The keyword arguments that ``_run_search`` must hand on with its function: none before scikit-learn 1.9."""
    return {"callback_ctx": callback_ctx} if HAS_CALLBACKS else {}


def is_told_of_fits(estimator: Estimator) -> bool:
    """Whether a callback of an estimator, or of a search around it, is to be notified of its fits."""
    return has_callbacks(estimator) or hasattr(estimator, CALLBACK_CONTEXT)


def results_table(
    search: Anything,
    candidates: Sequence[Any],
    splits: int,
    outcomes: Sequence[Any],
    more: Mapping[str, Sequence[Any]] | None = None,
) -> dict[str, Any]:
    """Make ``cv_results_`` from what ``fit_and_score`` returned, ordered by candidate; ``more`` columns come first."""
    table: dict[str, Any] = search._format_results(list(candidates), splits, outcomes, more)
    return table


def best_index(search: Anything, metric: str, table: Mapping[str, Any]) -> int:
    """The row of ``cv_results_`` that a search refits."""
    return int(search._select_best_index(True, metric, table))  # noqa: FBT003


def keep_splitter(search: Anything, splitter: Anything) -> None:
    """Set the attribute in which a search's ``fit`` keeps ``cv``; before scikit-learn 1.9 only halving searches have it."""
    if _VERSION >= (1, 9) or isinstance(search, HalvingGridSearchCV | HalvingRandomSearchCV):
        search._checked_cv_orig = splitter


class Diagram:
    """A mixin by which ``_html_repr`` makes all that a notebook shows of a search, as it does since scikit-learn 1.7."""

    if _VERSION < (1, 7):

        def _html_repr(self) -> str:
            return str(estimator_html_repr(self))

        def _repr_html_inner(self) -> str:
            return self._html_repr()

        def _repr_mimebundle_(self, **options: Anything) -> dict[str, Any]:
            bundle: dict[str, Any] = super()._repr_mimebundle_(**options)  # type: ignore[misc]
            return {**bundle, **({"text/html": self._html_repr()} if "text/html" in bundle else {})}


# --- joblib


def processes_of(parallel: joblib.Parallel) -> int:
    """The number of processes that an entered Parallel really has."""
    return int(parallel._effective_n_jobs())


def processes_of_loky() -> int:
    """The number of running loky processes that the next Parallel will use again."""
    from joblib.externals.loky import reusable_executor  # noqa: PLC0415  a search that forks has none

    executor = reusable_executor._executor
    return 0 if executor is None or executor._flags.shutdown else len(executor._processes or ())


def threads_of_loky(backend: Anything, processes: int) -> set[str]:
    """The numbers of threads, as text, that loky sets for BLAS and OpenMP libraries in each of so many processes."""
    told: Mapping[str, str] = backend._prepare_worker_env(n_jobs=processes)
    return {told[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


def streams(parallel: joblib.Parallel) -> bool:
    """Whether the backend of an entered Parallel can hand out results one by one."""
    return bool(getattr(parallel._backend, "supports_return_generator", False))


def end_what_was_interrupted(parallel: joblib.Parallel) -> None:
    """End loky's processes and files if a second Ctrl-C came while a Parallel was ending them because of the first.

    Without this the files stay as long as this process, because their tracker waits for a message from each killed process.
    """
    executor = getattr(parallel._backend, "_workers", None)
    is_half_done = getattr(parallel, "_aborting", False) and not getattr(parallel, "_aborted", True)
    if executor is None or not is_half_done:
        return
    manager = executor._executor_manager_thread

    def end() -> None:
        executor.terminate(kill_workers=True)
        # before Python 3.13 a join that Ctrl-C has cut short marks the thread as ended
        while manager in threading.enumerate():
            time.sleep(0.01)

    to_the_end(end)


# --- pipelines


def check_steps(composed: Estimator) -> None:
    """Raise what the ``fit`` of a pipeline, a column transformer or a union raises for invalid parts."""
    if isinstance(composed, sklearn.pipeline.Pipeline):
        composed._validate_steps()
    else:
        composed._validate_transformers()


def fit_prefix(pipeline: Estimator, X: Matrix, y: Target) -> Estimator:
    """Fit all steps but the last by the pipeline's own code, and return the transformed rows."""
    routed = pipeline._check_method_params(method="fit", props={})
    if not HAS_CALLBACKS:
        return pipeline._fit(X, y, routed, raw_params={})
    context = pipeline._init_callback_context(max_subtasks=len(pipeline.steps))
    return pipeline._fit(X, y, routed, raw_params={}, callback_ctx=context)


# --- what rules read and set: ensembles


def checked_by_forest(forest: Estimator, X: Matrix) -> Anything:
    """Check X as a fitted forest does before it hands it to its trees."""
    return forest._validate_X_predict(X)


def checked_by_adaboost(boosting: Estimator) -> Callable[[Any], Any]:
    """The function by which a fitted AdaBoost checks X before its learners predict."""
    check: Callable[[Any], Any] = boosting._check_X
    return check


def check_by(boosting: Estimator, check: Callable[[Any], Any]) -> None:
    """Have an AdaBoost check X by another function."""
    boosting._check_X = check


def first_seeds(bag: Estimator, size: int) -> dict[str, Any]:
    """The attribute with the estimators' seeds of a fitted bag, cut to the first ``size``."""
    return {"_seeds": bag._seeds[:size]}


# the metadata routed to a bag's estimators when they predict; an argument since 1.7
_NO_PARAMS: Final[tuple[dict[str, Any], ...]] = ({},) if _VERSION >= (1, 7) else ()


def bag_predicts(each: Anything, features: Anything, X: Matrix) -> Matrix:
    """The predictions of one estimator of a BaggingRegressor, as its sum over estimators takes them."""
    from sklearn.ensemble._bagging import _parallel_predict_regression  # noqa: PLC0415  slow to import

    return _parallel_predict_regression([each], [features], X, *_NO_PARAMS)


def bag_predicts_proba(each: Anything, features: Anything, X: Matrix, n_classes: int) -> Matrix:
    """The class probabilities of one estimator of a BaggingClassifier, as its sum over estimators takes them."""
    from sklearn.ensemble._bagging import _parallel_predict_proba  # noqa: PLC0415  slow to import

    return _parallel_predict_proba([each], [features], X, n_classes)


def bag_decides(each: Anything, features: Anything, X: Matrix) -> Matrix:
    """The decision function of one estimator of a BaggingClassifier, as its sum over estimators takes it."""
    from sklearn.ensemble._bagging import _parallel_decision_function  # noqa: PLC0415  slow to import

    return _parallel_decision_function([each], [features], X, *_NO_PARAMS)


def first_iterations(boosting: Estimator, size: int, raw_predict: Callable[[Any], Any]) -> dict[str, Any]:
    """The attributes that make a fitted histogram boosting one of its first ``size`` iterations, with another ``raw_predict``."""
    return {"_predictors": boosting._predictors[:size], "_raw_predict": raw_predict}


def raw_predictions(boosting: Estimator, X: Matrix, sizes: Sequence[int]) -> Iterator[tuple[int, Any]]:
    """The raw predictions of a fitted histogram boosting after each of ``sizes`` iterations, all in the same array."""
    X = boosting._preprocess_X(X, reset=False)
    shape = (X.shape[0], boosting.n_trees_per_iteration_)
    raw = np.zeros(shape, dtype=boosting._baseline_prediction.dtype, order="F")
    raw += boosting._baseline_prediction
    threads = openmp_threads()
    done = 0
    for size in sizes:
        boosting._predict_iterations(X, boosting._predictors[done:size], raw, is_binned=False, n_threads=threads)
        yield size, raw
        done = size


def boosted_trees(fitted: Estimator) -> list[Any] | None:
    """The trees of a fitted histogram boosting; None for any other estimator."""
    iterations = getattr(fitted, "_predictors", None)
    return None if iterations is None else [tree for iteration in iterations for tree in iteration]


# --- what rules replace: the counting of terms

_OF_VECTORIZERS: Final = {"count": "_count_vocab", "sort": "_sort_features", "limit": "_limit_features"}


@contextmanager
def counting_by(vectorizer: Estimator, **instead: Callable[..., Any]) -> Iterator[None]:
    """Replace the functions by which a vectorizer counts, sorts and limits terms within this block."""
    replaced = {_OF_VECTORIZERS[name]: function for name, function in instead.items()}
    for name, function in replaced.items():
        setattr(vectorizer, name, function)
    try:
        yield
    finally:
        for name in replaced:
            delattr(vectorizer, name)


def aligned(X: Matrix) -> Matrix:
    """The sparse data as the class, matrix or array, that scikit-learn is configured to give."""
    from sklearn.utils._sparse import _align_api_if_sparse  # noqa: PLC0415  not in every version

    return _align_api_if_sparse(X)


# --- what rules read and set: neighbours, trees, machines


def has_tree(fitted: Estimator) -> bool:
    """Whether fitted neighbours are looked up in a tree rather than by brute force."""
    return fitted._tree is not None


def fitted_rows(fitted: Estimator) -> Matrix:
    """The training rows among which fitted neighbours are looked up."""
    return fitted._fit_X


def fitted_targets(fitted: Estimator) -> Target:
    """The targets of the training rows of fitted neighbours; for a classifier as indices of its classes."""
    return fitted._y


# Not "brute", which may count votes in another query (ArgKminClassMode), with the same result.
ASKS_FOR_NEIGHBORS: Final = {"_fit_method": "sliced"}


# The values of a leaf for its child, and for its feature and threshold.
_NO_CHILD: Final = -1
_NO_FEATURE: Final = -2


def first_leaves(tree: Anything, leaves: int) -> Anything:
    """The ``tree_`` of a fitted tree, grown best first, when it had so many leaves: children always come after their node."""
    kind, given, state = tree.__reduce__()
    count = 2 * leaves - 1
    if state["node_count"] <= count:
        return tree
    nodes = state["nodes"][:count].copy()
    is_cut = nodes["left_child"] >= count
    nodes["left_child"][is_cut] = nodes["right_child"][is_cut] = _NO_CHILD
    nodes["feature"][is_cut] = nodes["threshold"][is_cut] = _NO_FEATURE
    made = kind(*given)
    made.__setstate__(
        {"max_depth": _depth(nodes), "node_count": count, "nodes": nodes, "values": state["values"][:count]}
    )
    return made


def _depth(nodes: Anything) -> int:
    depth, level = -1, np.zeros(1, np.intp)
    while len(level):
        depth += 1
        level = np.concatenate([nodes["left_child"][level], nodes["right_child"][level]])
        level = level[level != _NO_CHILD]
    return depth


def prune(tree: Estimator) -> None:
    """Replace the ``tree_`` of a fitted tree by one that is pruned by its ``ccp_alpha``."""
    tree._prune_tree()


def validates_probabilities(machine: Estimator) -> bool:
    """Whether a fitted support vector machine made others for its own cross-validation."""
    if _VERSION < (1, 9):
        return bool(getattr(machine, "probability", False))
    return bool(getattr(machine, "_effective_probability", False))


# --- what rules call: ridge regressions


def prepared_ridge_data(ridge: Estimator, X: Matrix, y: Target, sample_weight: Anything) -> tuple[Any, Any, Any]:
    """X, the encoded y and the weights as ``RidgeClassifier.fit`` has them before it solves."""
    X, _, sample_weight, y = ridge._prepare_data(X, y, sample_weight, ridge.solver)
    return X, y, sample_weight


def centred_ridge_data(
    X: Matrix, y: Target, sample_weight: Anything, *, fit_intercept: bool
) -> tuple[Any, Any, Any, Any, Any]:
    """X and y (a column for each target), centred and then weighted as by ``Ridge.fit``, and what ``set_intercept`` needs."""
    # since 1.8 the function can weigh them, too, and also returns the weights' roots
    given = {"rescale_with_sw": False} if _VERSION >= (1, 8) else {}
    X, y, X_offset, y_offset, X_scale, *_ = _preprocess_data(
        X, y, fit_intercept=fit_intercept, copy=True, sample_weight=sample_weight, **given
    )
    y = y.reshape(-1, 1) if y.ndim == 1 else y
    if sample_weight is not None:
        X, y, _ = _rescale_data(X, y, sample_weight)
    return X, y, X_offset, y_offset, X_scale


def set_intercept(made: Estimator, X_offset: Anything, y_offset: Anything, X_scale: Anything) -> None:
    """Set ``intercept_`` of a linear model, and its coefficients in the units of X."""
    made._set_intercept(X_offset, y_offset, X_scale)


# --- what rules read and set: XGBoost and LightGBM


def with_booster(booster: Anything) -> dict[str, Any]:
    """The attribute with the model of a fitted estimator of XGBoost or LightGBM."""
    return {"_Booster": booster}


def keywords_of_lightgbm(estimator: Estimator) -> Mapping[str, Any]:
    """The parameters that LightGBM keeps besides an estimator's own: extra keywords of its constructor and of ``set_params``."""
    keywords: Mapping[str, Any] = estimator._other_params
    return keywords


def with_keywords_of_lightgbm(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """The attribute that has LightGBM's extra keywords."""
    return {"_other_params": dict(keywords)}


# --- what rules call: recursive elimination


def squared_importances(model: Estimator, getter: str) -> Any:  # noqa: ANN401  an array, or a sparse matrix of one row
    """The squared importance of each feature in a fitted model, as RFE compares them."""
    from sklearn.feature_selection._base import _get_feature_importances  # noqa: PLC0415  slow to import

    return _get_feature_importances(model, getter, transform_func="square")


# --- what rules call: principal components


def decomposed(pca: Estimator, X: Matrix) -> tuple[Any, Any]:
    """Fit a PCA; returns the left singular vectors and the singular values, which ``fit_transform`` multiplies."""
    pca._validate_params()
    U, S, *_ = pca._fit(X)
    return U, S
