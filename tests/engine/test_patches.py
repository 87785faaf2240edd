"""What the engine replaces of scikit-learn stands while a search is in force, and no longer; other threads do not notice."""

import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any, Final

import joblib
import numpy as np
import pytest
import sklearn.model_selection
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from tests.engine.fresh import ended_beside_scikit_learn, in_a_fresh_process
from tuningjob import GridSearchCV
from tuningjob.engine import memo, shortcuts
from tuningjob.engine.evaluate import PATCHES
from tuningjob.engine.patches import Patch, Patches, inside
from tuningjob.engine.sklearn_private import PatchedName

_PLACES: Final = [patch.place for patch in (*memo.PATCHES, *shortcuts.PATCHES)]
_ORIGINALS: Final = [place.now for place in _PLACES]
_GRID: Final = {"clf__C": [0.1, 1.0, 10.0]}
_PATIENCE: Final = 60  # seconds, of a machine that is busy


def _standing() -> list[bool]:
    """Of each place, whether scikit-learn's own function stands there."""
    return [place.now is original for place, original in zip(_PLACES, _ORIGINALS, strict=True)]


_ALL_ORIGINAL: Final = [True] * len(_PLACES)
_ALL_REPLACED: Final = [False] * len(_PLACES)


def _data() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4))
    return X, (X[:, 0] + rng.normal(size=60) > 0).astype(int)


def _pipeline() -> Pipeline:
    columns = ColumnTransformer([("a", StandardScaler(), [0, 1]), ("b", MinMaxScaler(), [2, 3])])
    union = FeatureUnion([("columns", columns), ("all", StandardScaler())])
    return Pipeline([("union", union), ("clf", LogisticRegression())])


class Calling(ClassifierMixin, BaseEstimator):
    """Calls a function in the middle of a fit."""

    def __init__(self, call: Callable[[], object], C: float = 1.0) -> None:
        self.call = call
        self.C = C

    def fit(self, X: Any, y: Any) -> "Calling":
        self.call()
        self.model_ = GaussianNB().fit(X, y)
        self.classes_ = self.model_.classes_
        return self

    def predict(self, X: Any) -> Any:
        return self.model_.predict(X)


class _Call:
    """A function that clone keeps as the one that it is."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call

    def __call__(self) -> None:
        self._call()

    def __deepcopy__(self, _: object) -> "_Call":
        return self


def _search(call: Callable[[], object], **arguments: Any) -> GridSearchCV:
    """A search of one process, whose fits call a function after the known steps of a pipeline."""
    pipeline = Pipeline([("scale", StandardScaler()), ("clf", Calling(_Call(call)))])
    return GridSearchCV(pipeline, _GRID, cv=2, refit=False, **arguments)


def _raises(error: BaseException) -> Callable[[], None]:
    def call() -> None:
        raise error

    return call


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    assert _standing() == _ALL_ORIGINAL
    yield
    assert _standing() == _ALL_ORIGINAL
    assert not inside()


# --- one search


@pytest.mark.slow  # a new process
def test_to_import_all_of_tuningjob_replaces_nothing() -> None:
    code = """
import narwhals.stable.v2, sklearn.base, sklearn.compose, sklearn.pipeline
owners = [sklearn.base, sklearn.base.BaseEstimator, sklearn.pipeline, sklearn.pipeline.Pipeline, sklearn.pipeline.FeatureUnion,
          sklearn.compose.ColumnTransformer, sklearn.compose._column_transformer, narwhals.stable.v2.dependencies]
before = [dict(vars(owner)) for owner in owners]
import tuningjob, tuningjob.local, tuningjob.pod, tuningjob.engine.search_cv
tuningjob.GridSearchCV, tuningjob.engine.Engine
for owner, names in zip(owners, before):
    changed = [name for name, value in vars(owner).items() if not name.startswith("__") and names.get(name) is not value]
    assert not changed, (owner, changed)
"""
    ended = ended_beside_scikit_learn(code)
    assert ended.returncode == 0, ended.stderr


def test_the_originals_are_scikit_learns_and_narwhals_own() -> None:
    modules = [getattr(original, "__module__", original.__class__.__module__) for original in _ORIGINALS]
    assert {module.partition(".")[0] for module in modules} <= {"sklearn", "narwhals"}


def test_a_search_replaces_them_while_it_evaluates() -> None:
    seen: list[list[bool]] = []
    _search(lambda: seen.append(_standing())).fit(*_data())
    assert seen
    assert set(map(tuple, seen)) == {tuple(_ALL_REPLACED)}


def test_the_refit_is_scikit_learns_own() -> None:
    seen: list[list[bool]] = []
    _search(lambda: seen.append(_standing())).set_params(refit=True).fit(*_data())
    assert seen[-1] == _ALL_ORIGINAL


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), SystemExit(3), MemoryError()], ids=repr)
def test_a_fit_that_raises_leaves_the_originals(error: BaseException) -> None:
    with pytest.raises(type(error)):
        _search(_raises(error), error_score="raise").fit(*_data())
    assert _standing() == _ALL_ORIGINAL


def test_ctrl_c_in_a_fit_leaves_the_originals() -> None:
    with pytest.raises(KeyboardInterrupt):
        _search(lambda: signal.raise_signal(signal.SIGINT)).fit(*_data())
    assert _standing() == _ALL_ORIGINAL


def test_a_search_within_a_fit_of_a_search_leaves_them_replaced_for_the_outer_one() -> None:
    seen: list[list[bool]] = []
    inner = _search(lambda: seen.append(_standing())).set_params(refit=True)
    outer = GridSearchCV(inner, {"estimator__scale": [StandardScaler(), MinMaxScaler()]}, cv=2, refit=False)
    outer.fit(*_data())
    assert set(map(tuple, seen)) == {tuple(_ALL_REPLACED)}  # the inner refits, too: they are fits of the outer one


def test_a_class_is_asked_for_its_parameters_anew_once_it_has_another_constructor() -> None:
    class Changing(GaussianNB):
        def __init__(self, one: int = 1) -> None:
            super().__init__()
            self.one = one

    def other(self: Any, two: int = 2) -> None:
        GaussianNB.__init__(self)
        self.two = two

    def change() -> None:
        assert list(Changing().get_params()) == ["one"]
        Changing.__init__ = other  # type: ignore[method-assign, assignment]
        assert list(Changing().get_params()) == ["two"]

    changes = iter([change])
    _search(lambda: [each() for each in changes]).fit(*_data())
    assert list(Changing().get_params()) == ["two"]


# --- threads


def _theirs(estimator: Any) -> Any:
    return sklearn.model_selection.GridSearchCV(estimator, _GRID, cv=2).fit(*_data()).cv_results_["mean_test_score"]


@contextmanager
def _held() -> Iterator[None]:
    """In here another thread is in the middle of a fit of a search."""
    within, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        within.set()
        assert go_on.wait(_PATIENCE)

    with ThreadPoolExecutor(1) as other:
        search = other.submit(_search(wait).fit, *_data())
        try:
            assert within.wait(_PATIENCE)
            yield
        finally:
            go_on.set()
        search.result()


def test_two_searches_at_once_both_have_them_replaced_to_the_end_of_the_longer() -> None:
    both = threading.Barrier(2, timeout=_PATIENCE)
    seen: list[list[bool]] = []

    def watch() -> None:
        both.wait()
        seen.append(_standing())
        both.wait()

    def alone(search: GridSearchCV) -> GridSearchCV:
        return search.fit(*_data())

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(alone, [_search(watch), _search(watch)]))
    assert set(map(tuple, seen)) == {tuple(_ALL_REPLACED)}
    with _held():
        _search(lambda: None).fit(*_data())
        assert _standing() == _ALL_REPLACED


@pytest.mark.slow
def test_many_searches_in_threads_at_once_have_scikit_learns_scores() -> None:
    want = _theirs(_pipeline())
    # scikit-learn's tasks set the process's filters, and put them back: of threads at once one warns that it has found none
    warnings.simplefilter("ignore")
    with ThreadPoolExecutor(4) as threads:
        runs = [threads.submit(GridSearchCV(_pipeline(), _GRID, cv=2).fit, *_data()) for _ in range(8)]
        for run in runs:
            np.testing.assert_array_equal(run.result().cv_results_["mean_test_score"], want)


@pytest.mark.slow
def test_a_search_in_threads_of_joblibs_has_scikit_learns_scores() -> None:
    want = _theirs(_pipeline())
    warnings.simplefilter("ignore")  # as above
    with joblib.parallel_config(backend="threading"):
        ours = GridSearchCV(_pipeline(), _GRID, cv=2, n_jobs=2).fit(*_data())
    np.testing.assert_array_equal(ours.cv_results_["mean_test_score"], want)


def test_code_outside_of_the_search_in_another_thread_has_scikit_learns_results() -> None:
    X, y = _data()
    want = cross_val_score(_pipeline(), X, y, cv=2)
    fitted = _pipeline().fit(X, y)
    with _held():
        assert not inside()
        np.testing.assert_array_equal(cross_val_score(_pipeline(), X, y, cv=2), want)
        np.testing.assert_array_equal(_pipeline().fit(X, y).predict_proba(X), fitted.predict_proba(X))
        np.testing.assert_array_equal(clone(_pipeline()).fit(X, y).predict_proba(X), fitted.predict_proba(X))
        # nothing of it is remembered: what it fits is its own, and may be written into
        one, other = (_pipeline().fit(X, y)[0].transform(X) for _ in range(2))
        one += 1
        np.testing.assert_array_equal(other, fitted[0].transform(X))


def test_code_outside_of_the_search_in_another_thread_reads_a_class_as_it_is() -> None:
    class Changing(BaseEstimator):
        def __init__(self, one: int = 1) -> None:
            self.one = one

    with _held():
        assert list(Changing().get_params()) == ["one"]
        Changing.__init__.__signature__ = None  # type: ignore[attr-defined]
        del Changing.__init__.__signature__  # type: ignore[attr-defined]
        Changing.__init__.__code__ = (
            lambda self, two=2: setattr(self, "two", two)
        ).__code__  # the same function, changed
        assert list(Changing().get_params()) == ["two"]


def test_a_search_that_begins_while_a_column_transformer_is_fitted_elsewhere_does_not_confuse_it() -> None:
    X, y = _data()
    begun: list[ExitStack] = []

    class Slow(ColumnTransformer):
        def _iter(self, **arguments: Any) -> Iterator[Any]:
            # here it has the function that it will compare with its module's
            if not begun and not arguments["fitted"]:
                begun.append(ExitStack())
                begun[0].enter_context(_held())
            return super()._iter(**arguments)

    parts = [("a", StandardScaler(), [0, 1]), ("b", "passthrough", [2, 3])]
    want = ColumnTransformer(parts).fit_transform(X, y)
    slow = Slow(parts)
    try:
        np.testing.assert_array_equal(slow.fit_transform(X, y), want)
        assert begun
    finally:
        for search in begun:
            search.close()
    np.testing.assert_array_equal(slow.transform(X), want)


# --- processes


def _says_replaced(*_: Any) -> float:
    return float(_standing() == _ALL_REPLACED)


@in_a_fresh_process
def test_worker_processes_have_them_replaced_and_the_process_of_the_search_only_meanwhile() -> None:
    search = GridSearchCV(
        make_pipeline(StandardScaler(), GaussianNB()), {"gaussiannb__var_smoothing": [1e-9, 1e-6]}, cv=2
    )
    search.set_params(n_jobs=2, scoring=_says_replaced, refit=False).fit(*_data())
    assert search.cv_results_["mean_test_score"].tolist() == [1.0, 1.0]
    assert _standing() == _ALL_ORIGINAL


@in_a_fresh_process
def test_a_process_that_another_thread_forks_meanwhile_has_the_originals() -> None:
    with _held():
        assert _standing() == _ALL_REPLACED
        pid = os.fork()
        if pid == 0:
            # and a search of its own begins and ends
            with PATCHES.in_force():
                replaced = _standing() == _ALL_REPLACED
            os._exit(0 if replaced and _standing() == _ALL_ORIGINAL else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert _standing() == _ALL_REPLACED


@in_a_fresh_process
def test_a_process_that_a_fit_forks_goes_on_in_the_search() -> None:
    def fork() -> None:
        pid = os.fork()
        if pid == 0:
            os._exit(0 if inside() and _standing() == _ALL_REPLACED else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

    _search(fork, error_score="raise").fit(*_data())
    assert _standing() == _ALL_ORIGINAL


# --- patches of any kind


def _toy(forget: Callable[[], object] = lambda: None) -> tuple[SimpleNamespace, Patches]:
    owner = SimpleNamespace(one="one", two="two")
    return owner, Patches(
        [Patch(PatchedName(owner, "one"), "ONE", forget), Patch(PatchedName(owner, "two"), "TWO", forget)],
    )


@pytest.mark.slow
@given(st.lists(st.one_of(st.just(None), st.integers(0, 5)), max_size=20))
def test_they_stand_exactly_while_any_search_is_in_force_in_whatever_order_searches_end(
    steps: list[int | None],
) -> None:
    owner, patches = _toy()
    searches: list[ExitStack] = []
    for step in steps:
        if step is None:
            searches.append(ExitStack())
            searches[-1].enter_context(patches.in_force())
        elif searches:
            searches.pop(step % len(searches)).close()
        assert (owner.one, owner.two) == (("ONE", "TWO") if searches else ("one", "two"))
    for search in searches:
        search.close()
    assert (owner.one, owner.two) == ("one", "two")


def test_ctrl_c_in_the_middle_of_leaving_leaves_nothing_behind() -> None:
    interrupts = iter([KeyboardInterrupt()])

    def forget() -> None:
        for interrupt in interrupts:
            raise interrupt

    owner, patches = _toy(forget)
    with pytest.raises(KeyboardInterrupt), patches.in_force():
        pass
    assert (owner.one, owner.two) == ("one", "two")


def test_what_somebody_else_puts_around_a_replacement_is_left_to_them() -> None:
    owner, patches = _toy()
    with patches.in_force():
        owner.one = "theirs"
    assert (owner.one, owner.two) == ("theirs", "two")
