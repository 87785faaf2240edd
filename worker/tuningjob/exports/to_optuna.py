"""A search as a study of optuna's, in a file that optuna-dashboard opens."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from tuningjob.errors import ArtifactRefused, ServiceUnavailable
from tuningjob.exports.values import Plain, is_whole, plain_of, text_of
from tuningjob.report.axes import ParameterAxis
from tuningjob.report.table import ResultTable

_LOGS: Final = frozenset({".journal", ".log"})
_MOST_NUMBERS: Final = 1_000


def write_study(table: ResultTable, path: Path) -> int:
    """Write a study of the search's name to a file; returns how many trials it has. Raises ArtifactRefused.

    Each candidate is the trial of its number. The file is SQLite's; with the suffix .journal or .log it is optuna's own log.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    name = table.origin.name or "search"
    with _closed(_storage(path)) as storage:
        try:
            _add(table, storage, name)
        except optuna.exceptions.DuplicatedStudyError:
            raise ArtifactRefused(
                f"{path}: must not have a study {name!r} yet, but has one. Name another file."
            ) from None
    return table.size


def add_study(table: ResultTable, url: str, name: str) -> str:
    """Add the study to the database at ``url``; returns its name: ``name``, with a number if there is one of that name.

    Raises ServiceUnavailable with what the database says, without the URL, which may have a password.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with _closed(optuna.storages.RDBStorage(url)) as storage:
            for number in range(1, _MOST_NUMBERS + 1):
                numbered = name if number == 1 else f"{name}-{number}"
                with suppress(optuna.exceptions.DuplicatedStudyError):
                    _add(table, storage, numbered)
                    return numbered
    except Exception as error:  # noqa: BLE001  of any driver
        said = " ".join(str(getattr(error, "orig", None) or error).split())
        for secret in (url, url.partition("://")[2].rpartition("@")[0].partition(":")[2]):
            said = said.replace(secret, "…") if secret else said
        raise ServiceUnavailable(f"the database did not take the study {name!r}: {said[:500]}") from None
    raise ArtifactRefused(f"{name}: must be the name of fewer than {_MOST_NUMBERS:,} studies, but is that of as many.")


def _add(table: ResultTable, storage: optuna.storages.BaseStorage, name: str) -> None:
    study = optuna.create_study(storage=storage, study_name=name, direction="maximize")
    study.set_user_attr("tuningjob", {"answer": table.best, "metric": table.metric.told})
    taken = {axis.name: _distribution(axis) for axis in table.axes}
    study.add_trials([_trial(table, candidate, taken) for candidate in range(table.size)])


@contextmanager
def _closed(storage: optuna.storages.BaseStorage) -> Iterator[optuna.storages.BaseStorage]:
    """A block with the storage; its connections are closed at the end."""
    try:
        yield storage
    finally:
        if isinstance(storage, optuna.storages.RDBStorage):
            storage.remove_session()
            storage.engine.dispose()


def _storage(path: Path) -> optuna.storages.BaseStorage:
    if path.suffix in _LOGS:
        return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    return optuna.storages.RDBStorage(f"sqlite:///{path.absolute()}")


def _distribution(axis: ParameterAxis) -> tuple[BaseDistribution, list[Plain]]:
    """The distribution of a parameter, as far as its values show it, and its levels as values of that distribution."""
    values: list[Plain] = [plain_of(level) for level in axis.levels]
    if is_whole(axis):
        whole = [int(level.python) for level in axis.levels]
        if max(map(abs, whole)) < 2**53:
            return IntDistribution(min(whole), max(whole), log=axis.is_log), values
    numbers = [level.number for level in axis.levels if level.number is not None]
    if len(numbers) == len(values) and numbers:
        return FloatDistribution(min(numbers), max(numbers), log=axis.is_log), [float(each) for each in numbers]
    if len({str(value) for value in values}) < len(values) or len(set(values)) < len(
        values
    ):  # 1 and True are one to optuna
        values = [text_of(level) for level in axis.levels]
    values = values if len(set(values)) == len(values) else [level.python for level in axis.levels]
    return CategoricalDistribution(values), values


def _trial(table: ResultTable, candidate: int, taken: dict[str, tuple[BaseDistribution, list[Plain]]]) -> FrozenTrial:
    params = {axis.name: taken[axis.name][1][code] for axis, code in table.params(candidate)}
    mean = float(table.means[candidate])
    found = {
        "splits": [_number(score) for score in table.folds[candidate].tolist()],
        "standard error": _number(float(table.metric.errors[candidate])),
        "fit seconds": _number(float(table.fit_seconds[candidate])),
        **{f"mean {each.told}": _number(float(each.means[candidate])) for each in table.metrics[1:]},
        "answer": candidate == table.best,
    }
    has_score = math.isfinite(mean)
    without = TrialState.PRUNED if table.pruned[candidate] else TrialState.FAIL
    return create_trial(
        state=TrialState.COMPLETE if has_score else without,
        params=params,
        distributions={name: taken[name][0] for name in params},
        value=mean if has_score else None,
        user_attrs=found,
    )


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
