"""A manifest's `crossValidation`: its meaning, its refusals, and the number of splits if the manifest tells it."""

import inspect
from typing import Any, Final

import pytest
import sklearn.model_selection
from hypothesis import given, settings
from sklearn.datasets import make_classification

from tests.manifest.generated import cross_validations
from tests.manifest.manifests import FULL, MINIMAL, manifest
from tuningjob.errors import ManifestRefused
from tuningjob.manifest import dump_spec, load
from tuningjob.sizing import Size, check_limit, pods_of, size_of, size_warning

SKLEARN: Final = "sklearn.model_selection"


def spec_of(cv: Any = None, base: dict[str, Any] = MINIMAL) -> Any:
    return load(manifest({**base, **({} if cv is None else {"crossValidation": cv})})).spec


def refusal(cv: Any, base: dict[str, Any] = MINIMAL) -> str:
    with pytest.raises(ManifestRefused) as refused:
        spec_of(cv, base)
    (problem,) = refused.value.problems
    return str(problem)


def test_a_manifest_of_before_reads_as_it_did() -> None:
    """Its canonical form is what a search is known by."""
    for cv in (None, {}, {"folds": 5}):
        assert dump_spec(spec_of(cv))["crossValidation"] == {"folds": 5}
    assert dump_spec(spec_of({"folds": 7}))["crossValidation"] == {"folds": 7}


def test_folds_are_five_where_nothing_else_divides() -> None:
    assert dump_spec(spec_of({"shuffle": True, "randomState": 1}))["crossValidation"] == {
        "folds": 5, "shuffle": True, "randomState": 1,
    }  # fmt: skip
    assert "folds" not in dump_spec(spec_of({"splitter": {"class": "a.B"}}))["crossValidation"]
    assert dump_spec(spec_of({"predefined": "fold"}, FULL))["crossValidation"] == {"predefined": "fold"}


@settings(max_examples=30)
@given(cross_validations)
def test_what_is_written_is_read_again(cv: dict[str, Any]) -> None:
    written = dump_spec(spec_of(cv))
    assert dump_spec(spec_of(written["crossValidation"])) == written


SPLITTER: Final = {"class": "a.B"}
WAYS: Final = "with one of folds, splitter and predefined"
ALONE: Final = "with shuffle, randomState and repeats beside folds alone"


@pytest.mark.parametrize(
    ("cv", "want"),
    [
        ({"folds": 3, "splitter": SPLITTER}, f"spec.crossValidation: must be {WAYS}, but got"),
        ({"splitter": SPLITTER, "predefined": "fold"}, f"spec.crossValidation: must be {WAYS}, but got"),
        ({"splitter": SPLITTER, "shuffle": True}, f"spec.crossValidation: must be {ALONE}, but got"),
        ({"splitter": SPLITTER, "randomState": 0}, "A splitter has its own in its params."),
        ({"predefined": "fold", "repeats": 2}, f"spec.crossValidation: must be {ALONE}, but got"),
        ({"groups": "g", "predefined": "fold"}, "spec.crossValidation: must be with groups or predefined, not both, but got"),
        ({"groups": "g", "repeats": 2, "randomState": 0}, "scikit-learn repeats no folds of groups."),
        ({"repeats": 2, "shuffle": False, "randomState": 0}, "must be with shuffle: true beside repeats, but got"),
        ({"shuffle": True}, "spec.crossValidation.randomState: must be an integer where folds are shuffled or repeated, but got None. Every pod must divide the data alike."),
        ({"folds": 3, "repeats": 2}, "spec.crossValidation.randomState: must be an integer where folds are shuffled or repeated, but got None."),
        ({"folds": 3, "randomState": 2}, "spec.crossValidation.randomState: must be left out where folds are not shuffled, but got 2. Or add shuffle: true."),
        ({"folds": 3, "shuffle": False, "randomState": 2}, "must be left out where folds are not shuffled"),
        ({"splitter": {"class": "KFold"}}, "spec.crossValidation.splitter.class: must be a dotted path"),
        ({"splitter": {"class": "a.B", "params": {"a": {"float": "x"}}}}, "spec.crossValidation.splitter.params.a.float: must be a number"),
        ({"groups": "species"}, "spec.crossValidation.groups: must be a column that is neither the target nor a feature, but got 'species'."),
        ({"predefined": "species"}, "spec.crossValidation.predefined: must be a column that is neither the target nor a feature, but got 'species'."),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(cv: dict[str, Any], want: str) -> None:
    assert want in refusal(cv, FULL)


def test_a_column_that_divides_is_no_feature_and_a_loader_has_none() -> None:
    data = {"path": "t.csv", "target": "species", "features": ["a", "patient"]}
    told = refusal({"groups": "patient"}, {**FULL, "data": data})
    assert told.startswith("spec.crossValidation.groups: must be a column that is neither the target nor a feature")
    assert "They name columns of a file: give a path." in refusal({"groups": "patient"})


# --- how many splits


@pytest.mark.parametrize(
    ("cv", "splits"),
    [
        ({"folds": 4, "repeats": 3, "randomState": 0}, 12),
        ({"splitter": {"class": f"{SKLEARN}.TimeSeriesSplit"}}, 5),
        ({"splitter": {"class": f"{SKLEARN}._split.ShuffleSplit", "params": {"n_splits": 20, "random_state": 0}}}, 20),
        ({"splitter": {"class": f"{SKLEARN}.RepeatedKFold", "params": {"n_repeats": 2, "random_state": 0}}}, 10),
        ({"splitter": {"class": f"{SKLEARN}.KFold", "params": {"n_splits": {"int": "7"}}}}, 7),
        # what scikit-learn refuses, the first pod refuses in its words
        ({"splitter": {"class": f"{SKLEARN}.KFold", "params": {"n_splits": "7"}}}, None),
        ({"splitter": {"class": f"{SKLEARN}.KFold", "params": {"n_splits": True}}}, None),
        ({"splitter": {"class": f"{SKLEARN}.LeaveOneOut"}}, None),
        ({"splitter": {"class": "mine.KFold", "params": {"n_splits": 7}}}, None),
    ],
)  # fmt: skip
def test_the_manifest_tells_how_many_splits_there_are_or_nobody_knows(cv: dict[str, Any], splits: int | None) -> None:
    assert size_of(spec_of(cv)).splits == splits


def test_of_each_splitter_of_scikit_learn_the_number_is_what_it_says_itself() -> None:
    """By the data where it is not known from the manifest: an unknown number is never a wrong one."""
    X, y = make_classification(60, random_state=0)
    arguments: dict[str, Any] = {
        "LeavePGroupsOut": {"n_groups": 1},
        "LeavePOut": {"p": 1},
        "PredefinedSplit": {"test_fold": [0, 1] * 30},
    }
    known = set()
    everything: dict[str, Any] = vars(sklearn.model_selection)
    for name, cls in everything.items():
        if (
            inspect.isclass(cls)
            and hasattr(cls, "split")
            and not inspect.isabstract(cls)
            and not name.startswith("Base")
        ):
            params = arguments.get(name, {})
            splits = size_of(spec_of({"splitter": {"class": f"{SKLEARN}.{name}", "params": params}})).splits
            made: Any = cls(**params)
            assert splits in {None, made.get_n_splits(X, y, [0, 1, 2] * 20)}, name
            known |= {name} if splits is not None else set()
    assert len(known) == 10  # fmt: skip


def test_of_an_unknown_number_one_split_is_counted_and_one_pod_planned() -> None:
    cv = {"splitter": {"class": f"{SKLEARN}.LeaveOneOut"}}
    spec = spec_of(cv, {**MINIMAL, "parallelism": 9, "limits": {"maxFits": 2}})
    size = size_of(spec)
    assert size.fits is None
    assert str(size) == "2 candidates × ? splits"
    assert size_warning(size) is None
    assert pods_of(spec, size) == 1
    check_limit(size, spec)
    with pytest.raises(ManifestRefused, match="at most 2 fits"):
        check_limit(Size(2, 2), spec)
    too_many = {**MINIMAL, "search": {"grid": {"parameters": {"C": [1, 2]}}}, "limits": {"maxFits": 1}}
    with pytest.raises(ManifestRefused, match=r"but got 2 candidates × \? splits"):
        check_limit(size_of(spec_of(cv, too_many)), spec_of(cv, too_many))


def test_more_splits_than_can_be_held_are_refused_by_the_splitters_name() -> None:
    spec = spec_of({"splitter": {"class": f"{SKLEARN}.KFold", "params": {"n_splits": 2**40}}})
    with pytest.raises(
        ManifestRefused, match=r"spec.crossValidation.splitter: must be a splitter of at most 1,000,000 splits"
    ):
        check_limit(size_of(spec), spec)
