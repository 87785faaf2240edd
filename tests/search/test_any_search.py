"""Whatever is put together of a space, splits, metrics and a rule, the manifest finds what the same search finds by hand, to the bit.

A quick profile runs with the other tests; ``TUNINGJOB_EXAMPLES=500`` runs as many as it says.
"""

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn import model_selection as ms
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import fbeta_score, make_scorer, mean_pinball_loss
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tests.journal.template import ensure_journal
from tests.truth import assert_equal_to_the_bit
from tuningjob import local
from tuningjob.aliases import Estimator
from tuningjob.manifest import load
from tuningjob.search.stop import Stop

pytestmark = pytest.mark.slow

Part = tuple[Any, Any]
"""What a manifest says, and what it is in Python."""

ROWS: Final = 48
FEATURES: Final = ["a", "b", "c"]


def table() -> pd.DataFrame:
    draw = np.random.default_rng(11)
    rows = pd.DataFrame(draw.normal(size=(ROWS, 3)), columns=FEATURES)
    rows["patient"] = draw.permutation(np.arange(ROWS) % 6)
    rows["fold"] = draw.permutation(np.arange(ROWS) % 4) - 1
    rows["weight"] = draw.integers(1, 4, ROWS)
    rows["sick"] = np.where(rows["a"] + draw.normal(size=ROWS) > 0, "yes", "no")
    rows["pressure"] = rows["b"] * 3 + draw.normal(size=ROWS)
    return rows


@dataclass(frozen=True)
class Kind:
    """An estimator: how it is written, what it is, and from what values its parameters are drawn."""

    written: dict[str, Any]
    made: Estimator
    target: str
    values: dict[str, list[Any]]
    ranges: dict[str, Part]
    weights: str = "sample_weight"


def of_class(path: str, **params: Any) -> dict[str, Any]:
    return {"class": f"sklearn.{path}", "params": params} if params else {"class": f"sklearn.{path}"}


DEPTHS: Final[dict[str, list[Any]]] = {"max_depth": [None, 1, 2, 3], "min_samples_leaf": [1, 2, 5, 9]}
LEAVES: Final[dict[str, Part]] = {
    "min_samples_leaf": ({"randint": [1, 9]}, scipy.stats.randint(1, 9)),
    "ccp_alpha": ({"uniform": [0, 0.25]}, scipy.stats.uniform(0, 0.25)),
}
CS: Final[Part] = ({"loguniform": [0.01, 100]}, scipy.stats.loguniform(0.01, 100))
STEPS: Final = [
    {"name": "scale", **of_class("preprocessing.StandardScaler")},
    {"name": "model", **of_class("linear_model.LogisticRegression")},
]
KINDS: Final = (
    Kind(
        of_class("tree.DecisionTreeClassifier", random_state=0),
        DecisionTreeClassifier(random_state=0),
        "sick",
        {**DEPTHS, "criterion": ["gini", "entropy"]},
        LEAVES,
    ),
    Kind(
        {"pipeline": STEPS},
        Pipeline([("scale", StandardScaler()), ("model", LogisticRegression())]),
        "sick",
        {"model__C": [0.01, 0.1, 1, 30], "scale__with_std": [True, False], "model__fit_intercept": [True, False]},
        {"model__C": CS},
        "model__sample_weight",
    ),
    Kind(
        of_class("linear_model.Ridge"),
        Ridge(),
        "pressure",
        {"alpha": [0.01, 0.5, 2, 100], "fit_intercept": [True, False]},
        {"alpha": CS},
    ),
    Kind(
        of_class("tree.DecisionTreeRegressor", random_state=3),
        DecisionTreeRegressor(random_state=3),
        "pressure",
        DEPTHS,
        LEAVES,
    ),
)
METRICS: Final[dict[str, dict[str, Part]]] = {
    "sick": {
        "accuracy": ("accuracy", "accuracy"),
        "roc_auc": ("roc_auc", "roc_auc"),
        "neg_log_loss": ("neg_log_loss", "neg_log_loss"),
        "f2": (
            {"function": "sklearn.metrics.fbeta_score", "params": {"beta": 2, "pos_label": "yes"}},
            make_scorer(fbeta_score, beta=2, pos_label="yes"),
        ),
    },
    "pressure": {
        "r2": ("r2", "r2"),
        "neg_mean_absolute_error": ("neg_mean_absolute_error", "neg_mean_absolute_error"),
        "pinball": (
            {"function": "sklearn.metrics.mean_pinball_loss", "params": {"alpha": 0.8}, "greaterIsBetter": False},
            make_scorer(mean_pinball_loss, greater_is_better=False, alpha=0.8),
        ),
    },
}


def splitter(name: str, **params: Any) -> Part:
    return {"splitter": of_class(f"model_selection.{name}", **params)}, getattr(ms, name)(**params)


@st.composite
def splits(draw: st.DrawFn, target: str) -> tuple[dict[str, Any], Any, bool]:
    """As the manifest has them, as ``cv``, and whether by patient."""
    folds, seed = draw(st.integers(2, 4)), draw(st.integers(0, 99))
    of_classes = target == "sick"
    shuffled = {"folds": folds, "shuffle": True, "randomState": seed}
    whole, of_groups = (ms.StratifiedKFold, ms.StratifiedGroupKFold) if of_classes else (ms.KFold, ms.GroupKFold)
    again = ms.RepeatedStratifiedKFold if of_classes else ms.RepeatedKFold
    grouped: list[Part] = [
        ({"folds": folds}, of_groups(folds)),
        (shuffled, of_groups(folds, shuffle=True, random_state=seed)),
        splitter("LeaveOneGroupOut"),
        splitter("GroupShuffleSplit", n_splits=folds, random_state=seed),
    ]
    plain: list[Part] = [
        ({"folds": folds}, folds),
        (shuffled, whole(folds, shuffle=True, random_state=seed)),
        ({"folds": folds, "repeats": 2, "randomState": seed}, again(n_splits=folds, n_repeats=2, random_state=seed)),
        ({"predefined": "fold"}, ms.PredefinedSplit(table()["fold"])),
        splitter("KFold", n_splits=folds),
        splitter("ShuffleSplit", n_splits=folds, test_size=0.3, random_state=seed),
        splitter("RepeatedKFold", n_splits=folds, n_repeats=2, random_state=seed),
    ]
    if draw(st.booleans()):
        said, cv = draw(st.sampled_from(grouped))
        return {**said, "groups": "patient"}, cv, True
    return *draw(st.sampled_from(plain)), False


@st.composite
def spaces(draw: st.DrawFn, kind: Kind) -> tuple[dict[str, Any], Callable[..., Any], dict[str, Any]]:
    """As ``spec.search`` has it; scikit-learn's search, with what it takes of its own."""

    def values() -> dict[str, list[Any]]:
        names = draw(st.lists(st.sampled_from(sorted(kind.values)), min_size=1, max_size=2, unique=True))
        return {
            name: draw(st.lists(st.sampled_from(kind.values[name]), min_size=1, max_size=3, unique=True))
            for name in names
        }

    lists: Any = [values(), values()] if draw(st.booleans()) else values()
    if draw(st.booleans()):
        return {"grid": {"parameters": lists}}, ms.GridSearchCV, {"param_grid": lists}
    iterations, seed = draw(st.integers(1, 5)), draw(st.integers(0, 99))
    said: Any = {name: written for name, (written, _) in kind.ranges.items()}
    meant: Any = {name: made for name, (_, made) in kind.ranges.items()}
    if draw(st.booleans()):
        more = values()
        said, meant = [said, more], [meant, more]
    search = {"random": {"parameters": said, "iterations": iterations, "randomState": seed}}
    return search, ms.RandomizedSearchCV, {"param_distributions": meant, "n_iter": iterations, "random_state": seed}


@st.composite
def metrics(draw: st.DrawFn, target: str) -> tuple[dict[str, Any], Any, str]:
    """What the manifest says of them, ``scoring``, and the one that decides."""
    known = METRICS[target]
    names = draw(st.lists(st.sampled_from(sorted(known)), max_size=3, unique=True))
    named = [name for name in names if known[name][0] == name]
    if not names:
        return {}, None, "score"
    if draw(st.booleans()) and named:
        if len(named) == 1 and draw(st.booleans()):
            return {"scoring": named[0]}, named[0], "score"
        refit = draw(st.sampled_from(named))
        return {"scoring": named, "refit": refit}, named, refit
    refit = draw(st.sampled_from(names))
    # a map comes in the order of its names, because an API server keeps no other
    scorers = {name: known[name][1] for name in sorted(names)}
    return {"scoring": {name: known[name][0] for name in names}, "refit": refit}, scorers, refit


Rule = Callable[[dict[str, Any]], int]


@st.composite
def rules(draw: st.DrawFn, names: list[str], metric: str) -> tuple[dict[str, Any], Rule | None]:
    """``select``, and the same by hand: a refit callable; None for scikit-learn's best."""
    deviations, gap = draw(st.sampled_from([0, 0.5, 2])), draw(st.sampled_from([0, 0.1, 1]))
    simplest, ascending = draw(st.sampled_from(names)), draw(st.booleans())
    known: list[tuple[dict[str, Any], Rule | None]] = [
        ({}, None),
        ({"best": True}, None),
        ({"mostStable": {"deviations": deviations}}, stablest(deviations, metric)),
        (
            {"oneStandardError": {"simplest": [{simplest: "ascending" if ascending else "descending"}]}},
            simplest_within_an_error(simplest, metric, ascending=ascending),
        ),
    ]
    said, rule = draw(st.sampled_from(known))
    if draw(st.booleans()):
        said = {**said, "maxOverfitGap": gap}
        rule = within_gap(gap, rule or stablest(0, metric), metric)
    return {"select": said} if said else {}, rule


def stablest(deviations: float, metric: str) -> Rule:
    return lambda found: int((found[f"mean_test_{metric}"] - deviations * found[f"std_test_{metric}"]).argmax())


def simplest_within_an_error(name: str, metric: str, *, ascending: bool) -> Rule:
    def choose(found: dict[str, Any]) -> int:
        means = found[f"mean_test_{metric}"]
        splits = sum(column.startswith("split") and column.endswith(f"_test_{metric}") for column in found)
        error = found[f"std_test_{metric}"][means.argmax()] / np.sqrt(splits - 1)
        near = pd.DataFrame({"mean": means, "params": found["params"]})[means >= means.max() - error]
        values = [each.get(name) for each in near["params"]]
        # what is no number comes after every number
        near["value"] = [float(value) if isinstance(value, int | float) else np.nan for value in values]
        order = near.sort_values(["value", "mean"], ascending=[ascending, False], kind="stable", na_position="last")
        return int(order.index[0])

    return choose


def within_gap(most: float, rule: Rule, metric: str) -> Rule:
    """The rule, of those candidates alone that are trained not too well."""

    def choose(found: dict[str, Any]) -> int:
        gaps = found[f"mean_train_{metric}"] - found[f"mean_test_{metric}"]
        kept = np.flatnonzero(gaps <= most) if (gaps <= most).any() else np.flatnonzero(gaps == gaps.min())
        part = {name: np.asarray(values)[kept] for name, values in found.items()}
        return int(kept[rule(part)])

    return choose


@dataclass(frozen=True)
class Case:
    """A manifest's spec, and the same by hand."""

    spec: dict[str, Any]
    search: Any
    target: str
    fit: dict[str, str]

    def __repr__(self) -> str:
        return f"{self.spec}\n{self.search}"


@st.composite
def cases(draw: st.DrawFn) -> Case:
    kind = draw(st.sampled_from(KINDS))
    space, make, own = draw(spaces(kind))
    division, cv, grouped = draw(splits(kind.target))
    scored, scoring, metric = draw(metrics(kind.target))
    chosen, rule = draw(rules(searched(space), metric))
    train = draw(st.booleans()) or "maxOverfitGap" in chosen.get("select", {})
    weighted = draw(st.booleans())
    data = {"path": "t.csv", "target": kind.target, "features": FEATURES}
    spec = {
        "estimator": kind.written,
        "search": space,
        "crossValidation": division,
        **scored,
        **chosen,
        "returnTrainScore": train,
        "baseline": draw(st.booleans()),
        "data": {**data, "sampleWeight": "weight"} if weighted else data,
        "resources": {"cpu": 1},
    }
    refit = rule or (True if metric == "score" else metric)
    search = make(kind.made, **own, cv=cv, scoring=scoring, refit=refit, return_train_score=train)
    return Case(spec, search, kind.target, groups_of(grouped) | ({kind.weights: "weight"} if weighted else {}))


def searched(space: dict[str, Any]) -> list[str]:
    (found,) = space.values()
    maps = found["parameters"] if isinstance(found["parameters"], list) else [found["parameters"]]
    return sorted(set().union(*maps))


def groups_of(grouped: bool) -> dict[str, str]:
    return {"groups": "patient"} if grouped else {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("any")
    table().to_csv(found / "t.csv", index=False)
    return found


@settings(
    max_examples=int(os.environ.get("TUNINGJOB_EXAMPLES", "10")),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(case=cases())
def test_a_manifest_finds_what_is_found_by_hand(case: Case, folder: Path) -> None:
    rows = pd.read_csv(folder / "t.csv")
    given_to_fit = {name: rows[column] for name, column in case.fit.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        want = case.search.fit(rows[FEATURES], rows[case.target], **given_to_fit)
    metadata = {"name": "any"}
    job = load({"apiVersion": "tuningjob.dev/v1alpha1", "kind": "TuningJob", "metadata": metadata, "spec": case.spec})

    with TemporaryDirectory() as output:
        ensure_journal(Path(output) / "tuning.db")
        found = local.run(job, folder=folder, output=Path(output), stop=Stop()).results

    assert_equal_to_the_bit(found.cv_results, want.cv_results_)
    assert found.best_index == want.best_index_
