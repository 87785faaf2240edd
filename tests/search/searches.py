"""Small searches, opened in a journal and worked at in this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.journal.template import ensure_journal
from tuningjob.journal.records import NewSearch
from tuningjob.journal.sql import SqlJournal, open_sqlite
from tuningjob.manifest import dump_spec, load
from tuningjob.search.problem import SearchProblem, prepare
from tuningjob.search.run import Worker
from tuningjob.search.stop import Stop


@contextmanager
def journal_in(folder: Path) -> Iterator[SqlJournal]:
    journal = open_sqlite(ensure_journal(folder / "tuning.db"))
    try:
        yield journal
    finally:
        journal.close()


def small(
    parameters: Any = None,
    *,
    estimator: str = "sklearn.tree.DecisionTreeClassifier",
    pipeline: list[dict[str, Any]] | None = None,
    params: dict[str, Any] | None = None,
    folder: Path = Path(),
    **spec: Any,
) -> SearchProblem:
    """A search of a small tree on iris, unless something else is asked for."""
    document = {
        "apiVersion": "tuningjob.dev/v1alpha1",
        "kind": "TuningJob",
        "metadata": {"name": "small"},
        "spec": {
            "estimator": (
                {"pipeline": pipeline}
                if pipeline
                else {"class": estimator, "params": {"random_state": 0} if params is None else params}
            ),
            "search": {"grid": {"parameters": parameters}},
            "data": {"loader": "sklearn.datasets.load_iris"},
            **spec,
        },
    }
    return prepare(load(document).spec, folder)


def opened(journal: SqlJournal, problem: SearchProblem, *, pods: int = 1, search_id: str = "s") -> None:
    journal.open_search(
        NewSearch(
            id=search_id,
            namespace="default",
            name="small",
            model_key="small",
            spec=dump_spec(problem.spec),
            candidates=problem.size.rows,
            splits=len(problem.splits),
            pods=pods,
        )
    )
    journal.view(search_id).set_preflight(problem.preflight)


def worker(
    journal: SqlJournal,
    problem: SearchProblem,
    *,
    index: int = 0,
    search_id: str = "s",
    claimant: str = "",
    stop: Stop | None = None,
) -> Worker:
    return Worker(
        journal=journal.view(search_id),
        problem=problem,
        index=index,
        n_jobs=2,
        claimant=claimant,
        stop=stop or Stop(),
    )
