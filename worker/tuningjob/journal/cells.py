"""Cells in SQL, within one transaction: taking them in, finding them again, and which candidate they make the best.

Statements are built once: building one costs as much as running it, and thousands of cells a second come through here.
"""

import datetime as dt
import functools
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    String,
    TableValuedAlias,
    Text,
    any_,
    bindparam,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from tuningjob.aliases import Anything, Matrix
from tuningjob.journal.records import Best
from tuningjob.journal.schema import cells, searches
from tuningjob.journal.values import null_if_nan
from tuningjob.protocol.records import CellResult

# a batch is one parameter of any length: an array to Postgres, a JSON text to SQLite
_POSTGRES: Final = "postgresql"
_RESULT: Final = TypeAdapter(CellResult)


def within(column: ColumnElement[Any], dialect: str) -> ColumnElement[bool]:
    """Whether a column's value is in the list that is bound as ``values`` (see ``bound``)."""
    if dialect == _POSTGRES:
        return column == any_(
            bindparam("values", type_=ARRAY(String if isinstance(column.type, String) else BigInteger))
        )
    return column.in_(select(func.json_each(bindparam("values", type_=Text)).table_valued("value").c.value))


def bound(values: Sequence[Any], dialect: str) -> Anything:
    """A list, bound as ``within`` reads it."""
    return list(values) if dialect == _POSTGRES else json.dumps(list(values))


@functools.cache
def _statements(dialect: str) -> dict[str, Any]:
    insert = postgresql.insert if dialect == _POSTGRES else sqlite.insert
    mine = (cells.c.search_id == bindparam("search")) & within(cells.c.ordinal, dialect)
    return {
        "insert": insert(cells).on_conflict_do_nothing().returning(cells.c.ordinal),
        "again": cells.update().where(mine).values(reports=cells.c.reports + 1),
        "finished": select(cells.c.ordinal).where(mine),
        "scores": select(cells.c.ordinal, cells.c.score).where(mine).order_by(cells.c.ordinal),
        "known": _known(dialect),
    }


def _known(dialect: str) -> Matrix:
    """One cell of each identity, as `<search that evaluated it> <result>`, because ids have no spaces.

    The database stops at the first cell of an identity, however many there are.
    """
    wanted = as_table(dialect)
    one = (
        select(func.coalesce(cells.c.reused_from, cells.c.search_id) + " " + cells.c.result)
        .join(searches, searches.c.id == cells.c.search_id)
        .where(cells.c.identity == wanted.c.value, searches.c.namespace == bindparam("namespace"))
        .limit(1)
        .scalar_subquery()
    )
    return select(wanted.c.value.label("identity"), one.label("found"))


def as_table(dialect: str) -> TableValuedAlias:
    """The list of texts that is bound as ``values`` (see ``bound``), as a table with the column ``value``."""
    if dialect == _POSTGRES:
        return func.unnest(bindparam("values", type_=ARRAY(String))).table_valued("value").render_derived()
    return func.json_each(bindparam("values", type_=Text)).table_valued("value")


class Cells:
    """The cells of one search, by their ordinals (candidate × splits + split)."""

    def __init__(self, connection: Connection, search_id: str) -> None:
        self._connection = connection
        self._dialect = connection.dialect.name
        self._search = search_id

    def _rows(self, statement: str, values: Sequence[Any], **more: object) -> Anything:
        parameters = {"values": bound(values, self._dialect), **more}
        return self._connection.execute(_statements(self._dialect)[statement], parameters)

    def insert(
        self,
        results: Mapping[int, CellResult],
        *,
        index: int,
        now: dt.datetime,
        sources: Mapping[int, str] | None = None,
        is_shared: bool = False,
    ) -> dict[int, CellResult]:
        """Take in the results that are not there yet, and return them.

        ``sources``: the other searches that evaluated them, for reused ones.
        ``is_shared``: they are another row's results, and no worker reported them.

        Cells go in by ordinal, so that two transactions that bring the same cells never wait for each other.
        """
        rows = [
            {
                "search_id": self._search,
                "ordinal": ordinal,
                "score": _first_score(result),
                "result": _RESULT.dump_json(result).decode(),
                "reported_by": index,
                "reported_at": now,
                "reports": 0 if sources or is_shared else 1,
                # a failed cell is never reused, even if a metric failed that does not decide here
                "identity": result.identity if _is_whole(result) else None,
                "reused_from": sources[ordinal] if sources else None,
            }
            for ordinal, result in sorted(results.items())
        ]
        if not rows:
            return {}
        new = self._connection.execute(_statements(self._dialect)["insert"], rows).scalars()
        return {ordinal: results[ordinal] for ordinal in new}

    def report_again(self, ordinals: Sequence[int]) -> None:
        """Count one more report of each of these cells."""
        if ordinals:
            self._rows("again", ordinals, search=self._search)

    def finished(self, ordinals: Sequence[int]) -> set[int]:
        """The finished ones of these cells."""
        return set(self._rows("finished", ordinals, search=self._search).scalars())

    def scores(self, ordinals: Sequence[int]) -> dict[int, float]:
        """The scores by the deciding metric of the finished ones of these cells; NaN for a cell without one."""
        found = self._rows("scores", list(ordinals), search=self._search)
        return {ordinal: math.nan if score is None else score for ordinal, score in found}

    def lowest(self, ordinals: range) -> float | None:
        """The lowest score of these cells; None if none of them has one."""
        mine = (cells.c.search_id == self._search) & cells.c.ordinal.between(ordinals.start, ordinals.stop - 1)
        found = self._connection.execute(select(func.min(cells.c.score)).where(mine)).scalar_one()
        return None if found is None else float(found)

    def failed(self, ordinals: range) -> int:
        """How many of these cells have failed."""
        mine = (cells.c.search_id == self._search) & cells.c.ordinal.between(ordinals.start, ordinals.stop - 1)
        # no text within the JSON can hold these quotes unescaped, and null has none
        count = select(func.count()).where(mine, cells.c.result.contains('"error":"'))
        return int(self._connection.execute(count).scalar_one())

    def known(self, namespace: str, identities: Iterable[str]) -> dict[str, tuple[str, CellResult]]:
        """What any search of the namespace, even a deleted one, has finished without an error, and which one evaluated it."""
        known: dict[str, tuple[str, CellResult]] = {}
        for identity, found in self._rows("known", sorted(identities), namespace=namespace):
            if found is not None:
                source, _, text = found.partition(" ")
                with suppress(ValidationError):  # a result that only an older release took in: it is fitted again
                    known[identity] = (source, _RESULT.validate_json(text))
        return known

    def sources(self) -> dict[str, int]:
        """The searches that the reused cells are from, each with its number of cells; the largest number first."""
        count = func.count()
        query = (
            select(cells.c.reused_from, count)
            .where(cells.c.search_id == self._search, cells.c.reused_from.is_not(None))
            .group_by(cells.c.reused_from)
            .order_by(count.desc(), cells.c.reused_from)
        )
        return {str(source): int(found) for source, found in self._connection.execute(query)}

    def best(self, candidates: Iterable[int], splits: int, before: Best | None) -> Best | None:
        """The best of these candidates with every split in, if it beats the one before; of equal ones the first in the grid."""
        ordinals = [candidate * splits + split for candidate in candidates for split in range(splits)]
        scores: dict[int, list[float]] = defaultdict(list)
        for ordinal, score in self._rows("scores", ordinals, search=self._search):
            if score is not None:
                scores[ordinal // splits].append(score)
        best = before
        for candidate, found in sorted(scores.items()):
            mean = sum(found) / splits
            # the mean of inf and -inf is NaN
            if len(found) < splits or math.isnan(mean):
                continue
            if best is None or mean > best.score or (mean == best.score and candidate < best.index):
                best = Best(index=candidate, score=mean)
        return best if best is not before else None


def _is_whole(result: CellResult) -> bool:
    scores = result.test_scores.values()
    lacks_some = len(scores) > 1 and any(map(math.isnan, scores))
    return result.error is None and not result.pruned and not lacks_some


def _first_score(result: CellResult) -> float | None:
    return null_if_nan(next(iter(result.test_scores.values()), math.nan))
