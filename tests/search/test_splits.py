"""However the data are divided, the search is scikit-learn's with the same cv and groups, to the bit."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn import model_selection as ms
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.tree import DecisionTreeClassifier

from tests.search.searches import small
from tests.search.splitters import EachGroup, Halves, Seeded
from tests.truth import assert_equal_to_the_bit
from tuningjob import local
from tuningjob.errors import ManifestRefused
from tuningjob.manifest import dump_spec, load
from tuningjob.search.problem import SearchProblem, prepare
from tuningjob.search.splits import divide
from tuningjob.search.stop import Stop
from tuningjob.sizing import size_of

ROWS: Final = 90
MINE: Final = "tests.search.splitters"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("divided")
    frame().to_csv(folder / "t.csv", index=False)
    return folder


def frame() -> pd.DataFrame:
    draw = np.random.default_rng(5)
    table = pd.DataFrame(draw.normal(size=(ROWS, 3)), columns=["a", "b", "c"])
    table["patient"] = [f"p{number}" for number in draw.integers(0, 12, ROWS)]
    table["fold"] = draw.integers(-1, 3, ROWS)
    table["sick"] = np.where(table["a"] + draw.normal(size=ROWS) > 0, "yes", "no")
    table["pressure"] = table["b"] * 3 + draw.normal(size=ROWS)
    return table


def document(cv: Any, *, regression: bool = False, **spec: Any) -> Any:
    estimator: dict[str, Any] = {"class": "sklearn.linear_model.Ridge"}
    parameters: dict[str, Any] = {"alpha": [0.1, 10]}
    if not regression:
        estimator = {"class": "sklearn.tree.DecisionTreeClassifier", "params": {"random_state": 0}}
        parameters = {"max_depth": [1, 3]}
    data = {"path": "t.csv", "target": "pressure" if regression else "sick", "features": ["a", "b", "c"]}
    return load(
        {
            "apiVersion": "tuningjob.dev/v1alpha1",
            "kind": "TuningJob",
            "metadata": {"name": "divided"},
            "spec": {
                "estimator": estimator,
                "search": {"grid": {"parameters": parameters}},
                "data": data,
                "crossValidation": cv,
                "returnTrainScore": True,
                "baseline": False,
                **spec,
            },
        }
    )


def by_hand(cv: Any, *, groups: str | None = None, regression: bool = False, rows: int = ROWS) -> GridSearchCV:
    """Nothing of the project's is in it."""
    table = frame().head(rows)
    search = (
        GridSearchCV(Ridge(), {"alpha": [0.1, 10]}, cv=cv, return_train_score=True)
        if regression
        else GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [1, 3]}, cv=cv, return_train_score=True)
    )
    y = table["pressure" if regression else "sick"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return search.fit(table[["a", "b", "c"]], y, groups=None if groups is None else table[groups])


def sklearns(name: str, **params: Any) -> dict[str, Any]:
    return {"splitter": {"class": f"sklearn.model_selection.{name}", "params": params}}


SHUFFLED: Final = {"shuffle": True, "randomState": 3}
# what a manifest says; what a script would have said; is it a regression; are there groups
SEARCHES: Final[dict[str, tuple[dict[str, Any], Callable[[], Any], bool, bool]]] = {
    "shuffled folds of numbers": ({"folds": 4, **SHUFFLED}, lambda: ms.KFold(4, shuffle=True, random_state=3), True, False),
    "repeated folds of numbers": ({"folds": 3, "repeats": 2, "randomState": 1}, lambda: ms.RepeatedKFold(n_splits=3, n_repeats=2, random_state=1), True, False),
    "groups of classes": ({"folds": 3, "groups": "patient"}, lambda: ms.StratifiedGroupKFold(3), False, True),
    "groups of numbers": ({"folds": 3, "groups": "patient"}, lambda: ms.GroupKFold(3), True, True),
    "shuffled groups of classes": ({"folds": 3, "groups": "patient", **SHUFFLED}, lambda: ms.StratifiedGroupKFold(3, shuffle=True, random_state=3), False, True),
    "time series": (sklearns("TimeSeriesSplit", n_splits=4, gap=2, test_size=9), lambda: ms.TimeSeriesSplit(4, gap=2, test_size=9), True, False),
    "stratified shuffle split": (sklearns("StratifiedShuffleSplit", n_splits=2, test_size=20, random_state=7), lambda: ms.StratifiedShuffleSplit(2, test_size=20, random_state=7), False, False),
    "group shuffle split": ({**sklearns("GroupShuffleSplit", n_splits=2, random_state=7), "groups": "patient"}, lambda: ms.GroupShuffleSplit(2, random_state=7), False, True),
    "leave one group out": ({**sklearns("LeaveOneGroupOut"), "groups": "patient"}, ms.LeaveOneGroupOut, False, True),
    "leave groups out": ({**sklearns("LeavePGroupsOut", n_groups=1), "groups": "patient"}, lambda: ms.LeavePGroupsOut(1), True, True),
    "leave one out": (sklearns("LeaveOneOut"), ms.LeaveOneOut, False, False),
    "a splitter of one's own": ({"splitter": {"class": f"{MINE}.Halves", "params": {"size": 9}}}, lambda: Halves(9), True, False),
    "masks of one's own": ({"splitter": {"class": f"{MINE}.Halves", "params": {"as_masks": True}}}, lambda: Halves(as_masks=True), False, False),
    "groups of one's own": ({"splitter": {"class": f"{MINE}.EachGroup"}, "groups": "patient"}, EachGroup, False, True),
    "a seed of one's own": ({"splitter": {"class": f"{MINE}.Seeded", "params": {"random_state": 5}}}, lambda: Seeded(5), False, False),
}  # fmt: skip


QUICK: Final = {"groups of classes", "repeated folds of numbers", "leave one group out", "a splitter of one's own"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in SEARCHES]
)
def test_the_search_is_the_one_that_a_script_would_have_made(name: str, tmp_path: Path) -> None:
    cv, make, regression, grouped = SEARCHES[name]
    rows = 30 if name == "leave one out" else ROWS  # it has as many splits
    want = by_hand(make(), groups="patient" if grouped else None, regression=regression, rows=rows)
    frame().head(rows).to_csv(tmp_path / "t.csv", index=False)

    outcome = local.run(document(cv, regression=regression), folder=tmp_path, output=tmp_path / "out", stop=Stop())

    assert_equal_to_the_bit(outcome.results.cv_results, want.cv_results_)
    found = joblib.load(tmp_path / "out/search.joblib")
    assert found.n_splits_ == want.n_splits_ == outcome.size.splits
    assert type(found.cv) is type(want.cv)
    assert_equal_to_the_bit(found.cv_results_, want.cv_results_)
    assert {key: repr(value) for key, value in vars(found.cv).items()} == {
        key: repr(value) for key, value in vars(want.cv).items()
    }


# --- any option beside any other


@st.composite
def options(draw: st.DrawFn) -> tuple[dict[str, Any], Callable[[], Any], bool, bool]:
    """As a manifest says it, and as scikit-learn's own words do."""
    regression, folds, seed = draw(st.booleans()), draw(st.integers(2, 5)), draw(st.integers(0, 2**32 - 1))
    shuffled: dict[str, Any] = {"shuffle": True, "random_state": seed} if draw(st.booleans()) else {}
    written = {"shuffle": True, "randomState": seed} if shuffled else {}
    kind = draw(st.sampled_from(["folds", "repeats", "groups", "splitter"]))
    if kind == "repeats":
        repeats = draw(st.integers(1, 4))
        cls = ms.RepeatedKFold if regression else ms.RepeatedStratifiedKFold
        told: dict[str, Any] = {"folds": folds, "repeats": repeats, "randomState": seed}
        return told, lambda: cls(n_splits=folds, n_repeats=repeats, random_state=seed), regression, False
    if kind == "splitter":
        name = draw(st.sampled_from(["KFold", "GroupKFold", "ShuffleSplit", "TimeSeriesSplit", "LeavePGroupsOut"]))
        params: dict[str, Any] = {"n_splits": folds}
        params |= shuffled if name in {"KFold", "GroupKFold"} else {}
        params |= {"random_state": seed} if name == "ShuffleSplit" else {}
        params = {"n_groups": draw(st.integers(1, 2))} if name == "LeavePGroupsOut" else params
        grouped = "Group" in name
        told = {**sklearns(name, **params), **({"groups": "patient"} if grouped else {})}
        return told, lambda: getattr(ms, name)(**params), regression, grouped
    grouped = kind == "groups"
    made = {(False, True): ms.KFold, (False, False): ms.StratifiedKFold, (True, True): ms.GroupKFold}
    cls = made.get((grouped, regression), ms.StratifiedGroupKFold)
    told = {"folds": folds, **written, **({"groups": "patient"} if grouped else {})}
    return told, lambda: cls(folds, **shuffled), regression, grouped


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(options())
def test_each_way_to_divide_is_the_one_of_scikit_learns_own_words(
    folder: Path, option: tuple[dict[str, Any], Callable[[], Any], bool, bool]
) -> None:
    cv, make, regression, grouped = option
    spec = document(cv, regression=regression).spec
    table = frame()
    want = list(make().split(table, table["pressure" if regression else "sick"], table["patient"] if grouped else None))

    problem = prepare(spec, folder)

    assert len(problem.splits) == len(want)
    for (train, test), (wanted_train, wanted_test) in zip(problem.splits, want, strict=True):
        np.testing.assert_array_equal(train, wanted_train)
        np.testing.assert_array_equal(test, wanted_test)
    assert size_of(spec).splits in {None, len(want)}


# --- what is refused


def refusal(cv: Any, folder: Path, **spec: Any) -> tuple[str, str]:
    """The reason, and what is told."""
    with pytest.raises(ManifestRefused) as refused:
        prepare(document(cv, **spec).spec, folder)
    (problem,) = refused.value.problems
    return problem.reason, str(problem)


@pytest.mark.parametrize(
    ("cv", "reason", "want"),
    [
        ({"folds": 3, "groups": "patients"}, "DataLoad", "spec.crossValidation.groups: must be a column of t.csv, but got 'patients'. Did you mean 'patient'?"),
        ({"predefined": "folds"}, "DataLoad", "spec.crossValidation.predefined: must be a column of t.csv, but got 'folds'. Did you mean 'fold'?"),
        ({"folds": 20, "groups": "patient"}, "FoldsUnfillable", "spec.crossValidation.folds: must be a number of folds that the 12 groups can fill, but got 20. patient has 12 different values, and no group is divided."),
        ({**sklearns("GroupKFold", n_splits=13), "groups": "patient"}, "FoldsUnfillable", "spec.crossValidation.splitter.params.n_splits: must be a number of folds that the 12 groups can fill, but got 13."),
        (sklearns("GroupKFold"), "SplitterInvalid", "Name the column of the groups by spec.crossValidation.groups."),
        (sklearns("LeaveOneGroupOut"), "SplitterInvalid", "Name the column of the groups by spec.crossValidation.groups."),
        ({**sklearns("KFold"), "groups": "patient"}, "GroupsInvalid", "spec.crossValidation.groups: must be given for a splitter of groups alone, but got 'patient'. KFold does not look at them: choose another, or leave the groups out."),
        ({"predefined": "patient"}, "PredefinedInvalid", "spec.crossValidation.predefined: must be a column of integers, -1 for rows that are always trained on, but got 'patient'. It has 'p"),
        ({"predefined": "pressure"}, "PredefinedInvalid", "It has "),
        ({"predefined": "gap"}, "PredefinedInvalid", "1 of its 90 values are missing."),
        ({"predefined": "below"}, "PredefinedInvalid", "It has less than -1 in it."),
        ({"predefined": "never"}, "PredefinedInvalid", "No row is ever tested with."),
        ({"folds": 3, "groups": "gap"}, "GroupsInvalid", "spec.crossValidation.groups: must be a column that has a group for each row, but got 'gap'. 1 of its 90 values are missing: nobody knows the groups of these rows."),
        (sklearns("TimeSeriesSplit", n_split=3), "ParameterUnknown", "spec.crossValidation.splitter.params.n_split: must be a parameter of sklearn.model_selection.TimeSeriesSplit, but got 'n_split'. Did you mean 'n_splits'?"),
        (sklearns("LeaveOneOut", n=3), "ParameterUnknown", "It takes none."),
        (sklearns("TimeSeriesSplits"), "CodeImport", "Did you mean 'TimeSeriesSplit'?"),
        (sklearns("TimeSeriesSplit", n_splits=300), "SplitterInvalid", "spec.crossValidation.splitter: must be a splitter that can divide these data, but got 'sklearn.model_selection.TimeSeriesSplit'. It says: ValueError: Cannot have number of folds=301"),
        (sklearns("KFold", n_splits="3"), "SplitterInvalid", "must be a class that takes these params"),
        (sklearns("KFold", random_state=3), "SplitterInvalid", "Setting a random_state has no effect since shuffle is False"),
        (sklearns("LeavePOut"), "SplitterInvalid", "missing 1 required positional argument: 'p'"),
        (sklearns("KFold", shuffle=True), "SplitterUnseeded", "spec.crossValidation.splitter.params.random_state: must be an integer for a splitter that draws, but got None. Every pod divides the data by itself, and all of them must do it alike."),
        (sklearns("ShuffleSplit"), "SplitterUnseeded", "must be an integer for a splitter that draws"),
        (sklearns("RepeatedKFold", random_state={"none": True}), "SplitterUnseeded", "must be an integer for a splitter that draws"),
        (sklearns("GroupShuffleSplit", random_state=True), "SplitterUnseeded", "but got True"),
        ({"splitter": {"class": f"{MINE}.Seeded"}}, "SplitterUnseeded", "must be an integer for a splitter that draws, but got None"),
        ({"splitter": {"class": f"{MINE}.Drawing"}}, "SplitterUnseeded", "spec.crossValidation.splitter: must be a splitter that divides the same data alike, but got 'tests.search.splitters.Drawing'. Made and asked twice, it gave two divisions"),
        ({"splitter": {"class": "sklearn.svm.SVC"}}, "SplitterInvalid", "spec.crossValidation.splitter.class: must be a class with scikit-learn's split and get_n_splits, but got 'sklearn.svm.SVC'."),
        ({"splitter": {"class": "sklearn.model_selection.train_test_split"}}, "SplitterInvalid", "must be a class with scikit-learn's split"),
        ({"splitter": {"class": f"{MINE}.Unpicklable"}}, "NotPicklable", "splitter.rows: "),
        ({"splitter": {"class": f"{MINE}.Refusing"}}, "SplitterInvalid", "It says: ValueError: size 5 is too large (splitters.py"),
        *(
            ({"splitter": {"class": f"{MINE}.Wrong", "params": {"how": how}}}, "SplitterInvalid", want)
            for how, want in {
                "raises": "It says: KeyError: 'patient' (splitters.py",
                "exits": "It says: SystemExit: 3",
                "none": "get_n_splits must give a number from 1 on, but gave 0.",
                "text": "get_n_splits must give a number from 1 on, but gave 'two'.",
                "three": "get_n_splits says 3 splits, but split gives 2.",
                "one": "get_n_splits says 1 splits, but split gives more.",
                "outside": "Of split 0 the test side names row 90, and there are 90, from 0 on.",
                "negative": "Of split 0 the train side names row -1, and there are 90, from 0 on.",
                "empty": "Of split 0 the test side is empty.",
                "flat": "Of split 0 the test side must be the numbers of rows, but has 0 dimensions of int64.",
                "texts": "Of split 0 the train side must be the numbers of rows, but has 1 dimensions of <U1.",
                "short mask": "Of split 0 the train side is a mask of 2 rows, and there are 90.",
                "one side": "It says: ValueError: not enough values to unpack",
            }.items()
        ),
    ],
)  # fmt: skip
def test_what_divides_no_data_is_refused_before_anything_is_fitted(
    cv: dict[str, Any], reason: str, want: str, tmp_path: Path
) -> None:
    table = frame().assign(gap=[np.nan, *range(ROWS - 1)], below=-2, never=-1)
    table.to_csv(tmp_path / "t.csv", index=False)
    found, told = refusal(cv, tmp_path)
    assert want in told
    assert found == reason


def test_a_search_that_its_data_make_too_large_is_refused_with_both_numbers(folder: Path) -> None:
    _, told = refusal(sklearns("LeaveOneOut"), folder, limits={"maxFits": 179})
    assert told.startswith(
        "spec.search.grid.parameters: must be a grid of at most 179 fits (spec.limits.maxFits), but got "
        "2 candidates × 90 folds = 180 fits."
    )
    assert len(prepare(document(sklearns("LeaveOneOut"), limits={"maxFits": 180}).spec, folder).splits) == 90


# --- what it is known by


def identity(problem: SearchProblem) -> str | None:
    return problem.identities.of(0, 0)


def test_cells_of_the_same_rows_are_the_same_whichever_words_made_the_split(folder: Path) -> None:
    """Only the rows of a split count, and the code of one's own that made it."""
    plain = prepare(document({"folds": 4}).spec, folder)
    named = prepare(document(sklearns("StratifiedKFold", n_splits=4)).spec, folder)
    assert identity(plain) == identity(named) is not None
    shuffled = prepare(document({"folds": 4, **SHUFFLED}).spec, folder)
    assert identity(plain) != identity(shuffled)


def test_the_code_of_a_splitter_of_ones_own_is_part_of_what_a_search_is_made_of(folder: Path) -> None:
    own = prepare(document({"splitter": {"class": f"{MINE}.Halves"}}).spec, folder)
    assert "tests/search/splitters.py" in own.preflight.code
    assert prepare(document(sklearns("KFold")).spec, folder).preflight.code == {}


def test_a_known_number_of_splits_is_left_out_of_what_a_worker_tells(folder: Path) -> None:
    """A service of an older release takes no field that it does not know."""
    assert prepare(document({"folds": 4}).spec, folder).preflight.splits == 0
    assert prepare(document(sklearns("LeaveOneOut")).spec, folder).preflight.splits == 90


# --- what is warned of


def test_a_column_that_looks_like_a_group_is_warned_of_until_it_is_named(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": range(90), "patient": list(range(30)) * 3, "sick": [0, 1] * 45})
    table.to_csv(tmp_path / "t.csv", index=False)
    data = {"path": "t.csv", "target": "sick"}

    def warned(cv: dict[str, Any]) -> list[str]:
        found = small({"max_depth": [1]}, data=data, crossValidation=cv, folder=tmp_path).warnings
        return [warning for warning in found if warning.startswith("RelatedRows")]

    (told,) = warned({"folds": 3})
    assert told.endswith("Write spec.crossValidation.groups: patient.")
    assert warned({"folds": 3, "groups": "patient"}) == []


def test_classes_that_do_not_fill_stratified_folds_are_warned_of_however_they_are_made(tmp_path: Path) -> None:
    table = frame().assign(sick=["rare"] * 2 + ["yes", "no"] * 44)
    table.to_csv(tmp_path / "t.csv", index=False)
    for cv in (
        {"folds": 3},
        {"folds": 3, **SHUFFLED},
        {"folds": 3, "repeats": 2, "randomState": 0},
        {"folds": 3, "groups": "patient"},
        sklearns("StratifiedKFold", n_splits=3),
    ):
        (told,) = prepare(document(cv).spec, tmp_path).warnings
        assert told.startswith("ClassCounts: class 'rare' has 2 members, fewer than the 3 folds")
    assert prepare(document(sklearns("KFold", n_splits=3)).spec, tmp_path).warnings == ()


def test_dividing_asks_a_splitter_in_the_order_of_scikit_learns_search(folder: Path) -> None:
    """So a splitter that remembers what it was asked has the same to say to both."""
    spec = document({"splitter": {"class": f"{MINE}.Halves"}}).spec
    problem = prepare(spec, folder)
    division = divide(spec, problem.estimator, problem.data)
    assert isinstance(division.cv, Halves)
    assert dump_spec(spec)["crossValidation"] == {"splitter": {"class": f"{MINE}.Halves", "params": {}}}
