"""Choose the candidate that is the answer by rules over ``cv_results_``, which replace a refit callable of scikit-learn.

Each rule is a pure function of the table. If a rule passes over the highest mean, the result names that with the reason.
"""

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Final, TypeAlias

import numpy as np

from tuningjob.errors import Problem
from tuningjob.manifest.literals import shown
from tuningjob.manifest.refusals import nearest
from tuningjob.manifest.select import OneStandardError, Select
from tuningjob.search.reasons import Reason

Table: TypeAlias = Mapping[str, Any]
Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Bools: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]

# A train score so much above the test score counts as risky if the manifest names no other gap. This holds only for scores
# without a unit, because an error in euros may differ by hundreds.
RISKY_GAP: Final = 0.05
_NO_UNIT: Final = 1.0


@dataclass(frozen=True)
class Selection:
    """The candidate that is the answer; ``rule`` is that of the manifest, in a word or two.

    ``passed_over`` is the candidate with the highest mean, if that was not taken, and ``why`` is the reason. ``risky`` says for
    each candidate whether its train score is above its test score by more than ``gap``; it is empty without train scores.
    """

    index: int
    rule: str = "best"
    passed_over: int | None = None
    why: str = ""
    gap: float = RISKY_GAP
    risky: Bools = field(default_factory=lambda: np.zeros(0, dtype=bool))

    @property
    def is_best(self) -> bool:
        """Whether the rule is scikit-learn's own."""
        return self.rule == "best"


def choose(select: Select | None, metric: str, table: Table) -> Selection:
    """The answer by the manifest's rule; ``metric`` is the deciding one, by its name in the columns.

    The first of equal candidates wins. If no candidate has a mean, scikit-learn's best is the answer under every rule.
    """
    best = first_ranked(metric, table)
    gaps = gaps_of(table, metric)
    gap = (
        select.max_overfit_gap
        if select is not None and select.max_overfit_gap is not None
        else _usual_gap(table, metric)
    )
    risky: Bools = np.zeros(0, dtype=bool) if gaps is None else gaps > gap
    if select is None or not np.isfinite(means_of(table, metric)).any():
        return Selection(best, gap=gap, risky=risky)
    index, rule, why = _chosen(select, metric, table)
    passed = best if index != best else None
    return Selection(index, rule, passed, why if passed is not None else "", gap, risky)


def _usual_gap(table: Table, metric: str) -> float:
    scores = [table[f"mean_{side}_{metric}"] for side in ("train", "test") if f"mean_{side}_{metric}" in table]
    known = np.abs(np.concatenate(scores).astype(np.float64))
    return RISKY_GAP if (known[~np.isnan(known)] <= _NO_UNIT).all() else math.inf


def _chosen(select: Select, metric: str, table: Table) -> tuple[int, str, str]:
    """The chosen candidate, the rule, and the reason why it may not be the best one."""
    means = means_of(table, metric)
    eligible: Bools = ~np.isnan(means)
    names: list[str] = []
    reasons: list[str] = []
    if select.max_overfit_gap is not None:
        eligible, reason = within_gap(eligible, gaps_of(table, metric), select.max_overfit_gap)
        names.append(f"maxOverfitGap {select.max_overfit_gap:g}")
        reasons.append(reason)
    if select.one_standard_error is not None:
        index = one_standard_error(select.one_standard_error, metric, table, eligible)
        error = standard_error(metric, table, best_of(means, eligible))
        names.append("oneStandardError")
        reasons.append(f"a simpler candidate is not worse by more than one standard error, {error:.4g}")
    elif select.fastest_within is not None:
        index = fastest_within(select.fastest_within, metric, table, eligible)
        names.append(f"fastestWithin {select.fastest_within:g}")
        reasons.append(f"a candidate that is fitted faster is not worse by more than {select.fastest_within:g}")
    elif select.fastest_within_standard_errors is not None:
        count = select.fastest_within_standard_errors
        error = standard_error(metric, table, best_of(means, eligible))
        within = 0.0 if math.isnan(error) else count * error
        index = fastest_within(within, metric, table, eligible)
        names.append(f"fastestWithinStandardErrors {count:g}")
        reasons.append(
            f"a candidate that is fitted faster is not worse by more than {count:g} standard errors, {within:.4g}"
        )
    elif select.most_stable is not None:
        deviations = select.most_stable.deviations
        index = most_stable(deviations, metric, table, eligible)
        names.append(f"mostStable {deviations:g}")
        reasons.append(f"another mean is higher after {deviations:g} standard deviations are taken off")
    else:
        index = best_of(means, eligible)
    best = first_ranked(metric, table)
    # the second rule says nothing of a best candidate that the gap has already excluded
    why = reasons[0] if select.max_overfit_gap is not None and not eligible[best] else reasons[-1] if reasons else ""
    return index, ", ".join(names) or "best", why


# --- the numbers that the rules use


def means_of(table: Table, metric: str) -> Floats:
    """The mean test score of each candidate by a metric."""
    return np.asarray(table[f"mean_test_{metric}"], dtype=np.float64)


def gaps_of(table: Table, metric: str) -> Floats | None:
    """The excess of each candidate's mean train score over its mean test score; None without train scores."""
    train = table.get(f"mean_train_{metric}")
    if train is None:
        return None
    with np.errstate(invalid="ignore"):  # infinite scores give NaN
        return np.asarray(train, dtype=np.float64) - means_of(table, metric)


def first_ranked(metric: str, table: Table) -> int:
    """The candidate that scikit-learn itself chooses, which has the least ``rank_test_<metric>``."""
    return int(np.asarray(table[f"rank_test_{metric}"]).argmin())


def best_of(scores: Floats, eligible: Bools) -> int:
    """The candidate with the highest score among the eligible ones, the first of equal ones."""
    known = np.flatnonzero(eligible & ~np.isnan(scores))
    known = known if known.size else np.flatnonzero(eligible)
    return int(known[scores[known].argmax()])


def standard_error(metric: str, table: Table, candidate: int) -> float:
    """The standard error of a mean over k splits: std / sqrt(k - 1), with scikit-learn's ``std_test_<metric>``, the population's.

    That equals the sample's standard deviation divided by sqrt(k); R's glmnet computes its ``cvsd`` so.
    """
    splits = sum(
        name.startswith("split") and name.endswith(f"_test_{metric}") and _is_split(name, metric) for name in table
    )
    return float(table[f"std_test_{metric}"][candidate]) / math.sqrt(splits - 1) if splits > 1 else 0.0


def _is_split(name: str, metric: str) -> bool:
    return name.removeprefix("split").removesuffix(f"_test_{metric}").isdigit()


# --- rules


def within_gap(eligible: Bools, gaps: Floats | None, most: float) -> tuple[Bools, str]:
    """The candidates whose train score exceeds their test score by at most ``most``, and a text about the others.

    If there are none, those with the least gap stay, so that the fits are not lost.
    """
    if gaps is None:
        return eligible, ""
    kept: Bools = eligible & (gaps <= most)
    if kept.any():
        return kept, f"its train score is above its test score by more than {most:g}"
    known = np.where(eligible & ~np.isnan(gaps), gaps, np.inf)
    if not np.isfinite(known).any():
        return eligible, ""
    least = float(known.min())
    reason = f"no candidate's train score is within {most:g} of its test score: the least gap, {least:.4g}, was taken"
    return known == least, reason


def one_standard_error(rule: OneStandardError, metric: str, table: Table, eligible: Bools) -> int:
    """The simplest candidate whose mean is not below the best one's by more than one standard error of that one.

    Breiman, Friedman, Olshen and Stone, Classification and Regression Trees (1984), 3.4.3; Hastie, Tibshirani and Friedman, The
    Elements of Statistical Learning, 7.10. Candidates are compared by the first parameter, equal ones by the next, and in the end
    by the higher mean.
    """
    means = means_of(table, metric)
    best = best_of(means, eligible)
    error = standard_error(metric, table, best)
    if math.isnan(error):  # infinite scores give NaN
        return best
    near = np.flatnonzero(eligible & (means >= means[best] - error))
    order = [item for each in rule.simplest for item in each.items()]

    def complexity(candidate: int) -> tuple[Any, ...]:
        params = table["params"][candidate]
        return (*(_place(params, name, direction) for name, direction in order), -means[candidate])

    return int(min(near.tolist(), key=complexity))


def _place(params: Mapping[str, Any], name: str, direction: str) -> tuple[int, float]:
    """The sort key of a value: numbers in their order, then other values (None mostly means no bound) and unset ones."""
    value = params.get(name)
    number = float(value) if isinstance(value, Real | np.bool_) else math.nan
    if math.isnan(number):
        return 1, 0.0
    return 0, number if direction == "ascending" else -number


def fastest_within(most: float, metric: str, table: Table, eligible: Bools) -> int:
    """The candidate with the least ``mean_fit_time`` among those whose mean is at most ``most`` below the best one's.

    Times differ from run to run, and so may the answer. Among equal times the higher mean wins.
    """
    means = means_of(table, metric)
    near = np.flatnonzero(eligible & (means >= means[best_of(means, eligible)] - most))
    times = np.asarray(table["mean_fit_time"], dtype=np.float64)
    return int(min(near.tolist(), key=lambda candidate: (times[candidate], -means[candidate])))


def most_stable(deviations: float, metric: str, table: Table, eligible: Bools) -> int:
    """The candidate with the highest lower confidence bound: mean less ``deviations`` population standard deviations."""
    stds = np.asarray(table[f"std_test_{metric}"], dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return best_of(means_of(table, metric) - deviations * stds, eligible)


# --- impossible rules


def select_problems(select: Select | None, maps: Sequence[Set[str]]) -> Iterator[Problem]:
    """The problems of a rule by a parameter that no map of the space has."""
    if select is None or select.one_standard_error is None:
        return
    known = sorted(set().union(*maps))
    for i, each in enumerate(select.one_standard_error.simplest):
        for name in each:
            if name not in known:
                field_path = f"spec.select.oneStandardError.simplest[{i}]"
                yield Problem(
                    field_path,
                    "a parameter that is searched",
                    shown(name),
                    nearest(name, known),
                    Reason.PARAMETER_UNKNOWN,
                )
