"""Collect what a verdict needs besides the results: the defaults, the score of guessing, and the values an estimator takes."""

import datetime as dt
import json
import platform
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import yaml
from sklearn.base import is_classifier, is_regressor
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.model_selection import cross_validate
from sklearn.pipeline import Pipeline

from tuningjob import __version__
from tuningjob.aliases import AnyScorer, ParamValue
from tuningjob.engine.pruned import FORGIVING
from tuningjob.manifest import dump_spec
from tuningjob.manifest.spelling import to_json
from tuningjob.protocol.records import NestedEstimate
from tuningjob.report.drawing.rounds import rounds_of
from tuningjob.report.drawing.svg import Figure
from tuningjob.report.judged import Judgement, judge
from tuningjob.report.page import Provenance, render_page, render_plain
from tuningjob.report.spelling import Spelled, spell
from tuningjob.report.table import Origin, OuterScores, ScoreToBeat, SelectionRule, table_of
from tuningjob.search.baseline import AS_WRITTEN, THE_DEFAULTS
from tuningjob.search.constraints import constraint_text
from tuningjob.search.parameters import owner_of
from tuningjob.search.problem import SearchProblem
from tuningjob.search.reasons import abridged
from tuningjob.search.results import Results, ResultTexts
from tuningjob.search.scoring import scorers, scoring_of
from tuningjob.search.written import literal_of

# The score of guessing is measured only if it costs next to nothing.
_DUMMY_SECONDS: Final = 2.0
_MOST_ROWS: Final = 1_000_000
# The fields that decide the results. The others are about pods (env, volumes), and not every reader of a report may see them.
_TOLD_FIELDS: Final = frozenset(
    {"crossValidation", "data", "estimator", "refit", "returnTrainScore", "scoring", "search", "select"}
)
_LONGEST_MANIFEST: Final = 64 * 2**10


def told_of(
    problem: SearchProblem,
    results: Results,
    *,
    name: str,
    refit_seconds: float,
    nested: NestedEstimate | None = None,
    about: Sequence[tuple[str, str]] = (),
) -> ResultTexts:
    """The texts about the results in the files of the search. ``about`` has what the caller knows about their origin."""
    if problem.space.halving is not None:
        found = f"The answer is candidate {results.best_index}, the best of the last round: {results.best_params}."
        why = "each round of halving has scores of its own, by another amount of the resource"
        return _only_words(
            name,
            f"{found}\nNo verdict, and no gain over the defaults: {why}.",
            lambda: rounds_of(
                table_of(results.cv_results, results.best_index, metric=results.metric, told=problem.metric)
            ),
        )
    try:
        judgement = judged(problem, results, name=name, refit_seconds=refit_seconds, nested=nested)
        provenance = provenance_of(problem, name, results.best_index, about)
        return ResultTexts(judgement.text, render_page(judgement, provenance))
    except Exception as error:  # noqa: BLE001  a search of hours must not be lost because of its texts
        return _only_words(name, f"No verdict, because looking at the results failed: {abridged(repr(error))}.")


def _only_words(name: str, told: str, draw: Callable[[], Figure | None] = lambda: None) -> ResultTexts:
    try:
        figure = draw()
    except Exception:  # noqa: BLE001  a search of hours must not be lost because of a picture
        figure = None
    return ResultTexts(f"{told}\n", render_plain(name, told.splitlines(), [figure] if figure is not None else []))


def provenance_of(problem: SearchProblem, name: str, best: int, made: Sequence[tuple[str, str]] = ()) -> Provenance:
    """The origin of the results: data, splits and estimator by their digests, libraries, and the manifest.

    It begins with who or what has ``made`` them, and has the command that fits one cell of the ``best`` candidate again.
    """
    preflight = problem.preflight
    about = [
        *made,
        ("data", f"{preflight.samples:,} samples × {preflight.features:,} features, SHA-256 {preflight.data_digest}"),
        ("splits", f"SHA-256 {preflight.split_digest}"),
        ("estimator", f"SHA-256 {preflight.estimator_digest}"),
        ("random states", preflight.seed),
        ("one fit again", f"tuningjob verify {problem.spec.model_key or name} --cell {best},0" if name else ""),
        ("written", dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")),
        ("Python", platform.python_version()),
        *sorted(preflight.versions.items()),
        *(("code", f"{part} {digest}") for part, digest in sorted(preflight.code.items())),
    ]
    spec = {name: value for name, value in dump_spec(problem.spec).items() if name in _TOLD_FIELDS}
    manifest = yaml.safe_dump(spec, sort_keys=False, allow_unicode=True, width=110)
    return Provenance(
        __version__, [(name, value) for name, value in about if value], abridged(manifest, _LONGEST_MANIFEST)
    )


def judged(
    problem: SearchProblem,
    results: Results,
    *,
    name: str = "",
    refit_seconds: float | None = None,
    nested: NestedEstimate | None = None,
) -> Judgement:
    """Verdict and advice on the results of a search."""
    choice = results.choice
    told = problem.metric
    origin = Origin(
        name=name,
        defaults=_defaults(problem),
        dummy=_dummy(problem, results),
        measured_defaults=_measured_defaults(problem, results),
        rule=None if choice.is_best else SelectionRule(choice.rule, choice.passed_over, choice.why),
        outer=None if nested is None else OuterScores(nested.scores, nested.mean, nested.told),
        errors=dict(results.errors.most_common()),
        is_certain=problem.spec.prune != FORGIVING,
        failed_fits=results.failed_fits - (results.defaults.failed if results.defaults is not None else 0),
        refit_seconds=refit_seconds,
        gap=choice.gap,
        may_be=lambda name, value: _may_be(problem, name, value),
    )
    table = table_of(
        results.cv_results,
        results.best_index,
        metric=results.metric,
        told=told,
        origin=origin,
        speller=in_manifest,
    )
    return judge(table)


def in_manifest(value: ParamValue) -> Spelled:
    """A value as a literal of the manifest, in plain YAML or in JSON, which is YAML, too."""
    told = spell(value)
    is_whole = isinstance(value, float) and value.is_integer()  # an API server would turn it into an integer
    if isinstance(value, str) or (told.number is not None and not is_whole):
        return told
    return Spelled(told.python, json.dumps(to_json(literal_of(value))), told.number)


def _defaults(problem: SearchProblem) -> dict[str, Any]:
    """The default of each searched parameter if defaults are measured, else the estimator's value; {} if it cannot be read."""
    try:
        params = problem.estimator.get_params() | (dict(problem.defaults.params) if problem.spec.baseline else {})
    except Exception:  # noqa: BLE001  a user's class may do anything
        return {}
    names = {name for each in problem.space.given for name in each}
    return {name: params[name] for name in names if name in params}


def _measured_defaults(problem: SearchProblem, results: Results) -> ScoreToBeat | None:
    """The defaults' scores, if they were measured (spec.baseline)."""
    if results.defaults is None:
        return None
    told = AS_WRITTEN if problem.defaults.refused else THE_DEFAULTS
    candidate = problem.shared_with if results.defaults.is_shared else None
    return ScoreToBeat(told, np.asarray(results.defaults.scores, dtype=np.float64), candidate)


def _may_be(problem: SearchProblem, name: str, value: float) -> bool:
    """Whether the estimator would accept a number for a parameter, as far as is known."""
    try:
        owner = owner_of(problem.estimator, name)
        return owner is None or constraint_text(owner, name.rpartition("__")[2], value) is None
    except Exception:  # noqa: BLE001  a user's class may do anything
        return True


def _dummy(problem: SearchProblem, results: Results) -> ScoreToBeat | None:
    """The scores of guessing on the same splits, the least that a model must beat.

    They are measured only if predictions alone are scored, because guessing gets no features, and if that costs next to nothing.
    """
    told, make = _guess(problem)
    scoring_seconds = float(np.nanmean(results.cv_results["mean_score_time"])) * len(problem.splits)
    if make is None or scoring_seconds > _DUMMY_SECONDS or problem.data.samples > _MOST_ROWS or any(problem.params):
        return None
    scoring = scoring_of(problem.spec, problem.scorer)
    features = np.zeros((problem.data.samples, 1))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = cross_validate(
                make(), features, problem.data.y, cv=list(problem.splits), scoring=scoring, error_score=np.nan
            )
        folds = np.asarray(found[f"test_{results.metric}"], dtype=np.float64)
    except Exception:  # noqa: BLE001  a user's scorer may do anything
        return None
    return ScoreToBeat(told, folds) if np.isfinite(folds).all() else None


def _guess(problem: SearchProblem) -> tuple[str, Callable[[], Any] | None]:
    estimator = problem.estimator
    if problem.data.y is None or not _scores_predictions(problem):
        return "", None
    if is_classifier(estimator):
        return "guessing without any feature", lambda: DummyClassifier(strategy="prior")
    if is_regressor(estimator):
        return "guessing the mean", DummyRegressor
    return "", None


def _scores_predictions(problem: SearchProblem) -> bool:
    """Whether all scorers are scikit-learn's own (or the estimator's, if there is none), which use predictions alone."""
    if problem.spec.metrics.several or problem.spec.metrics.all[0].name is not None:
        return all(_is_plain(scorer) for scorer in scorers(problem.spec, problem.scorer).values())
    estimator = problem.estimator
    final = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    return str(getattr(getattr(type(final), "score", None), "__module__", "")).startswith("sklearn.")


def _is_plain(scorer: AnyScorer) -> bool:
    return type(scorer).__module__.startswith("sklearn.metrics.")
