"""The estimators and scorers that are known to give the same answer twice and to change nothing, so that results can be reused.

A transformer may draw whenever it transforms, a predict may count its calls, a scorer may fit its estimator again, and no object
shows that it does. So there is a list of exact classes of scikit-learn (a subclass may do anything). tests/engine/test_known.py
checks each of them: a second call gives the same bits, draws nothing, and changes neither the estimator nor its data. A class
with rules counts as known too.
"""

import sys
from collections.abc import Mapping
from functools import cache
from types import FunctionType
from typing import Final

import numpy as np
from sklearn.base import clone
from sklearn.compose import make_column_selector
from sklearn.metrics import silhouette_score
from sklearn.pipeline import Pipeline

from tuningjob.aliases import AnyScorer, Anything, Estimator, ParamValue
from tuningjob.engine.fingerprint import is_estimator
from tuningjob.engine.named import public_name
from tuningjob.engine.rules.base import Rules, rules_for
from tuningjob.engine.sklearn_private import (
    CALLBACK_CONTEXT,
    METADATA_REQUEST,
    MultimetricScorer,
    PassthroughScorer,
    Scorer,
    is_proved,
    metric_arguments,
    metric_of,
    scorers_of,
)

_CLASSES: Final[Mapping[str, str]] = {
    "sklearn.calibration": "CalibratedClassifierCV",
    "sklearn.cluster": "Birch BisectingKMeans KMeans MeanShift MiniBatchKMeans",
    "sklearn.compose": "ColumnTransformer TransformedTargetRegressor",
    "sklearn.covariance": "EllipticEnvelope",
    "sklearn.cross_decomposition": "CCA PLSCanonical PLSRegression PLSSVD",
    "sklearn.decomposition": (
        "DictionaryLearning FactorAnalysis FastICA IncrementalPCA KernelPCA LatentDirichletAllocation "
        "MiniBatchDictionaryLearning MiniBatchNMF MiniBatchSparsePCA NMF PCA SparsePCA TruncatedSVD"
    ),
    "sklearn.discriminant_analysis": "LinearDiscriminantAnalysis QuadraticDiscriminantAnalysis",
    "sklearn.dummy": "DummyClassifier DummyRegressor",
    "sklearn.ensemble": (
        "AdaBoostClassifier AdaBoostRegressor BaggingClassifier BaggingRegressor ExtraTreesClassifier ExtraTreesRegressor "
        "GradientBoostingClassifier GradientBoostingRegressor HistGradientBoostingClassifier HistGradientBoostingRegressor "
        "IsolationForest RandomForestClassifier RandomForestRegressor RandomTreesEmbedding StackingClassifier StackingRegressor "
        "VotingClassifier VotingRegressor"
    ),
    "sklearn.feature_extraction": (
        "CountVectorizer DictVectorizer FeatureHasher HashingVectorizer TfidfTransformer TfidfVectorizer"
    ),
    "sklearn.feature_selection": (
        "GenericUnivariateSelect RFE RFECV SelectFdr SelectFpr SelectFromModel SelectFwe SelectKBest SelectPercentile "
        "SequentialFeatureSelector VarianceThreshold"
    ),
    "sklearn.gaussian_process": "GaussianProcessClassifier GaussianProcessRegressor",
    "sklearn.impute": "IterativeImputer KNNImputer MissingIndicator SimpleImputer",
    "sklearn.isotonic": "IsotonicRegression",
    "sklearn.kernel_approximation": "AdditiveChi2Sampler Nystroem PolynomialCountSketch RBFSampler SkewedChi2Sampler",
    "sklearn.kernel_ridge": "KernelRidge",
    "sklearn.linear_model": (
        "ARDRegression BayesianRidge ElasticNet ElasticNetCV GammaRegressor HuberRegressor Lars LarsCV Lasso LassoCV LassoLars "
        "LassoLarsCV LassoLarsIC LinearRegression LogisticRegression LogisticRegressionCV MultiTaskElasticNet "
        "MultiTaskElasticNetCV MultiTaskLasso MultiTaskLassoCV OrthogonalMatchingPursuit OrthogonalMatchingPursuitCV "
        "Perceptron PoissonRegressor QuantileRegressor RANSACRegressor "
        "Ridge RidgeCV RidgeClassifier RidgeClassifierCV SGDClassifier SGDOneClassSVM SGDRegressor TheilSenRegressor "
        "TweedieRegressor"
    ),
    "sklearn.manifold": "Isomap LocallyLinearEmbedding",
    "sklearn.mixture": "BayesianGaussianMixture GaussianMixture",
    "sklearn.multiclass": "OneVsOneClassifier OneVsRestClassifier OutputCodeClassifier",
    "sklearn.multioutput": "ClassifierChain MultiOutputClassifier MultiOutputRegressor RegressorChain",
    "sklearn.naive_bayes": "BernoulliNB CategoricalNB ComplementNB GaussianNB MultinomialNB",
    "sklearn.neighbors": (
        "KNeighborsClassifier KNeighborsRegressor KNeighborsTransformer KernelDensity LocalOutlierFactor NearestCentroid "
        "NeighborhoodComponentsAnalysis RadiusNeighborsClassifier RadiusNeighborsRegressor RadiusNeighborsTransformer"
    ),
    "sklearn.neural_network": "BernoulliRBM MLPClassifier MLPRegressor",
    "sklearn.pipeline": "FeatureUnion Pipeline",
    "sklearn.preprocessing": (
        "Binarizer FunctionTransformer KBinsDiscretizer KernelCenterer MaxAbsScaler MinMaxScaler Normalizer OneHotEncoder "
        "OrdinalEncoder PolynomialFeatures PowerTransformer QuantileTransformer RobustScaler SplineTransformer StandardScaler "
        "TargetEncoder"
    ),
    "sklearn.random_projection": "GaussianRandomProjection SparseRandomProjection",
    "sklearn.semi_supervised": "LabelPropagation LabelSpreading SelfTrainingClassifier",
    "sklearn.svm": "LinearSVC LinearSVR NuSVC NuSVR OneClassSVM SVC SVR",
    "sklearn.tree": "DecisionTreeClassifier DecisionTreeRegressor ExtraTreeClassifier ExtraTreeRegressor",
}

_PLAIN: Final = frozenset({str, bytes, int, float, complex, bool, type(None), range, slice, np.dtype})
_FUNCTIONS: Final = frozenset(
    f"sklearn.feature_selection.{name}" for name in ("chi2", "f_classif", "f_regression", "r_regression")
)
_TYPES: Final = frozenset({bool, int, float, str, object})
# With any other value the fit writes into its data, so a later step or the train score would see changed data.
_COPIES: Final = ("copy", "copy_X", "copy_x", "copy_X_train")
# Attributes that are not parameters but scikit-learn's own objects.
_NO_PARAMETERS: Final = frozenset({METADATA_REQUEST, CALLBACK_CONTEXT})
# If estimators are larger than this, a copy for each candidate costs more than sharing saves: they are fitted one by one.
_MOST_BYTES: Final = 2**16
_MOST_ITEMS: Final = 2_000
_DEEPEST: Final = 20


def names() -> list[tuple[str, str]]:
    """The modules and names of all classes on the list."""
    return [(module, name) for module, classes in _CLASSES.items() for name in classes.split()]


def is_known(estimator: Estimator) -> bool:
    """Whether all parts of an estimator are on the list, and its parameters are small plain values."""
    return _is_plain(estimator, _DEEPEST)


def known_steps(pipeline: Estimator) -> int:
    """The number of first steps of a pipeline that are known; the last step never counts."""
    count = 0
    for _, step in pipeline.steps[:-1]:
        if not is_known(step):
            break
        count += 1
    return count


def may_share(estimator: Estimator) -> bool:
    """Whether an estimator's fits may share work: all of it is known, or the first steps of a pipeline are.

    The other steps must be small, because each candidate has its own.
    """
    if is_known(estimator):
        return True
    if type(estimator) is not Pipeline or estimator.transform_input is not None:
        return False
    steps = estimator.steps
    count = known_steps(estimator)
    works = any(step is not None and not isinstance(step, str) for _, step in steps[:count])
    return works and all(_is_small(step, _DEEPEST) for _, step in steps[count:])


def can_share(estimator: Estimator) -> bool:
    """Whether candidates of an estimator may share work, judged by itself: its class is known, and copies of it are small."""
    kind: type = type(estimator)
    try:
        return (kind is Pipeline or _is_known_class(kind)) and _is_small(clone(estimator), _DEEPEST)
    except Exception:  # noqa: BLE001  scikit-learn's own clone will raise it
        return False


def is_known_scorer(scorer: AnyScorer) -> bool:
    """Whether a score depends on the predictions alone: by scikit-learn's own metrics, or by the estimator's own ``score``."""
    if isinstance(scorer, MultimetricScorer):
        return all(map(is_known_scorer, scorers_of(scorer).values()))
    if type(scorer) is PassthroughScorer:
        return True
    return type(scorer) is Scorer and _is_metric(metric_of(scorer)) and _is_plain(metric_arguments(scorer), _DEEPEST)


def is_a_scorer(scorer: AnyScorer) -> bool:
    """Whether a scorer is of scikit-learn's own kinds, which only ask an estimator for predictions."""
    if isinstance(scorer, MultimetricScorer):
        return all(map(is_a_scorer, scorers_of(scorer).values()))
    return type(scorer) in {Scorer, PassthroughScorer}


@cache
def _is_listed(kind: type) -> bool:
    if not is_proved():
        return False
    module, _, name = (public_name(kind) or "").rpartition(".")
    return name in _CLASSES.get(module, "").split()


def _is_plain(value: ParamValue, depth: int) -> bool:  # noqa: PLR0911  any parameter's value, a kind at a time
    kind = type(value)
    if kind in _PLAIN or isinstance(value, np.generic):
        return True
    if not depth:
        return False
    if kind is np.ndarray:
        return value.nbytes <= _MOST_BYTES and (not value.dtype.hasobject or _is_plain(value.tolist(), depth - 1))
    if kind in {list, tuple, set, frozenset}:
        return len(value) <= _MOST_ITEMS and all(_is_plain(item, depth - 1) for item in value)
    if kind is dict:
        return len(value) <= _MOST_ITEMS and all(
            _is_plain(key, depth - 1) and _is_plain(item, depth - 1) for key, item in value.items()
        )
    if isinstance(value, type):
        return value in _TYPES or issubclass(value, np.generic)
    if kind is np.ufunc or (kind is FunctionType and public_name(value) in _FUNCTIONS):
        return True
    return (
        (kind is make_column_selector or _is_known_class(kind))
        and _is_known_by_its_rules(value)
        and _is_known_by_its_values(value, depth)
    )


def _is_known_class(kind: type) -> bool:
    return _is_listed(kind) or (not kind.__module__.startswith("sklearn.") and rules_for(kind) != Rules())


def _is_known_by_its_rules(estimator: Estimator) -> bool:
    if type(estimator).__module__.startswith("sklearn."):
        return True
    rules = vars(rules_for(type(estimator))).values()
    try:
        return all(rule.knows(estimator) for rule in rules if rule is not None)
    except Exception:  # noqa: BLE001  its parameters may raise anything when they are read
        return False


def _is_known_by_its_values(estimator: Estimator, depth: int) -> bool:
    values = getattr(estimator, "__dict__", None)
    if values is None:
        return False
    if any(values.get(name, True) is not True for name in _COPIES):
        return False
    if values.get("sample_posterior", False) is not False:
        return False  # an IterativeImputer, which draws from its own generator at each transform
    if values.get("kw_args") or values.get("inv_kw_args"):
        return False  # a FunctionTransformer, whose ufunc may have arrays to write into as arguments
    return all(_is_plain(value, depth - 1) for name, value in values.items() if name not in _NO_PARAMETERS)


def _is_small(value: ParamValue, depth: int) -> bool:
    """Whether a copy of the value is cheap; False if that cannot be told."""
    if _is_plain(value, depth):
        return True
    if not depth:
        return False
    if type(value) in {list, tuple}:
        return len(value) <= _MOST_ITEMS and all(_is_small(item, depth - 1) for item in value)
    if isinstance(value, type | FunctionType):
        return True
    values = getattr(value, "__dict__", None)
    return is_estimator(value) and isinstance(values, dict) and all(_is_small(v, depth - 1) for v in values.values())


def _is_metric(function: Anything) -> bool:
    return (
        type(function) is FunctionType
        and function.__module__.startswith("sklearn.metrics")
        and getattr(sys.modules.get(function.__module__), function.__name__, None) is function
        and function is not silhouette_score  # which draws a sample
    )
