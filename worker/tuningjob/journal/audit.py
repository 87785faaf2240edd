"""The audit in SQL: versions of finished searches and the history of blessings, both only ever added to."""

import datetime as dt
import json
import secrets
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Final

from pydantic import ConfigDict, TypeAdapter
from sqlalchemy import Connection, Row, func, select

from tuningjob.errors import NotBlessed, UnknownModel
from tuningjob.journal.cells import Cells
from tuningjob.journal.database import Database
from tuningjob.journal.records import Erasure
from tuningjob.journal.schema import audit, blessings, erasures, searches
from tuningjob.journal.values import bounded_text, nan_if_null, null_if_nan, params_in, storable
from tuningjob.protocol.audit import Act, AuditRow, Blessing
from tuningjob.protocol.records import Answer, Artifact, Baseline, Choice, NestedEstimate, Preflight

_VERSIONS: Final = range(1, 2**31)  # the longest text that the column holds
_FILES: Final = TypeAdapter(tuple[Artifact, ...])
# NaN and infinities as text, because JSON has neither
_SCORES: Final = TypeAdapter(dict[str, float], config=ConfigDict(ser_json_inf_nan="strings"))
_CHOICE: Final = TypeAdapter(Choice)
_BASELINE: Final = TypeAdapter(Baseline)
_NESTED: Final = TypeAdapter(NestedEstimate)
_MOST_SOURCES: Final = 32
# an older release took texts of any length: they stay in the database and are not read
_COLUMNS: Final = [
    bounded_text(column) if column.name in {"best_params", "versions"} else column for column in audit.columns
]


class SqlAudit:
    """The versioned memory of finished searches (``hyperparameter_audit``), and who blessed which version, when and why.

    Every method may raise JournalError, and UnknownModel for a key or a version that is not there.
    """

    def __init__(self, database: Database, clock: Callable[[], dt.datetime]) -> None:
        self._database = database
        self._clock = clock

    def models(self, namespace: str, *, after: str = "", limit: int | None = None) -> list[str]:
        """The model keys of a namespace that come after ``after``, sorted; at most ``limit``."""
        mine = (audit.c.namespace == namespace) & (audit.c.model_key > after)
        query = select(audit.c.model_key).where(mine).distinct().order_by(audit.c.model_key).limit(limit)
        with self._database.reading() as connection:
            return list(connection.execute(query).scalars())

    def history(self, *, namespace: str, model_key: str) -> list[AuditRow]:
        """The versions of a model key, the first one first."""
        return self._rows(namespace, model_key, after=0, limit=None)

    def page(self, *, namespace: str, model_key: str, after: int, limit: int) -> list[AuditRow]:
        """The versions above ``after`` (a version or 0), as ``history`` has them; at most ``limit``."""
        return self._rows(namespace, model_key, after=after, limit=limit)

    def _rows(self, namespace: str, model_key: str, *, after: int, limit: int | None) -> list[AuditRow]:
        query = (
            select(*_COLUMNS)
            .where(audit.c.namespace == namespace, audit.c.model_key == model_key, audit.c.version > after)
            .order_by(audit.c.version)
            .limit(limit)
        )
        with self._database.reading() as connection:
            found = list(map(_row, connection.execute(query)))
            if not found:
                self._version(connection, namespace, model_key, max(1, after))  # an unknown key is told as such
            return found

    def newest(self, *, namespace: str, model_key: str) -> int:
        """The highest version of a model key."""
        mine = (audit.c.namespace == namespace) & (audit.c.model_key == model_key)
        with self._database.reading() as connection:
            latest = connection.execute(select(func.max(audit.c.version)).where(mine)).scalar()
            if latest is None:
                self._version(connection, namespace, model_key, 1)  # an unknown key is told as such
        return int(latest or 0)

    def version(self, *, namespace: str, model_key: str, version: int) -> AuditRow:
        """The row of one version."""
        with self._database.reading() as connection:
            return self._version(connection, namespace, model_key, version)

    def _version(self, connection: Connection, namespace: str, model_key: str, version: int) -> AuditRow:
        mine = (audit.c.namespace == namespace) & (audit.c.model_key == model_key)
        if version in _VERSIONS:
            found = connection.execute(select(*_COLUMNS).where(mine, audit.c.version == version)).one_or_none()
            if found is not None:
                return _row(found)
        latest = connection.execute(select(func.max(audit.c.version)).where(mine)).scalar()
        if latest is None:
            raise UnknownModel(
                f"model key: must be one of namespace {namespace} with a finished search, but got {model_key!r}."
            )
        raise UnknownModel(f"version of {model_key}: must be from 1 to {latest}, but got {version}.")

    def blessed(self, *, namespace: str, model_key: str) -> AuditRow:
        """The version in use. Raises NotBlessed."""
        with self._database.reading() as connection:
            in_use = _stack(self._blessings(connection, namespace, model_key))
            if in_use:
                return self._version(connection, namespace, model_key, in_use[-1].to_version)
            self._version(connection, namespace, model_key, 1)  # an unknown key is told as such
        raise NotBlessed(f"{model_key}: must have a version in use, but none was ever blessed. Bless one first.")

    def bless(self, *, namespace: str, model_key: str, version: int, who: str, why: str = "") -> Blessing:
        """Put a version into use. If it is in use already, nothing changes, and the blessing that did it is returned."""
        with self._database.writing() as connection:
            history = self._locked_history(connection, namespace, model_key, version)
            in_use = _stack(history)
            if in_use and in_use[-1].to_version == version:
                return in_use[-1]
            return self._add(connection, history, namespace, model_key, act=Act.BLESS, to=version, who=who, why=why)

    def rollback(self, *, namespace: str, model_key: str, who: str, why: str = "") -> Blessing:
        """Put the version that was in use before into use again. Raises NotBlessed if there is none."""
        with self._database.writing() as connection:
            history = self._locked_history(connection, namespace, model_key, 1)
            in_use = _stack(history)
            if len(in_use) < 2:
                got = f"only version {in_use[0].to_version}" if in_use else "none"
                raise NotBlessed(f"{model_key}: must have been blessed twice to be rolled back, but got {got}.")
            to = in_use[-2].to_version
            return self._add(connection, history, namespace, model_key, act=Act.ROLLBACK, to=to, who=who, why=why)

    def _locked_history(self, connection: Connection, namespace: str, model_key: str, version: int) -> list[Blessing]:
        """Lock and read the blessings of a key, so that two people bless it one after the other. Raises UnknownModel."""
        first = (audit.c.namespace == namespace) & (audit.c.model_key == model_key) & (audit.c.version == 1)
        connection.execute(select(audit.c.version).where(first).with_for_update())
        self._version(connection, namespace, model_key, version)
        return self._blessings(connection, namespace, model_key)

    def _add(
        self,
        connection: Connection,
        history: list[Blessing],
        namespace: str,
        model_key: str,
        *,
        act: Act,
        to: int,
        who: str,
        why: str,
    ) -> Blessing:
        now = self._clock()
        made = Blessing(
            namespace=namespace,
            model_key=model_key,
            number=len(history) + 1,
            act=act,
            from_version=history[-1].to_version if history else None,
            to_version=to,
            who=storable(who),
            why=storable(why),
            at=now.isoformat(),
        )
        connection.execute(
            blessings.insert().values(
                namespace=made.namespace,
                model_key=made.model_key,
                number=made.number,
                act=act.value,
                from_version=made.from_version,
                to_version=made.to_version,
                who=made.who,
                why=made.why,
                at=now,
            )
        )
        return made

    def blessings(self, *, namespace: str, model_key: str) -> list[Blessing]:
        """Every bless and rollback of a model key, the first one first."""
        return self.page_of_blessings(namespace=namespace, model_key=model_key, after=0, limit=None)

    def page_of_blessings(self, *, namespace: str, model_key: str, after: int, limit: int | None) -> list[Blessing]:
        """The blessings with numbers above ``after``, as ``blessings`` has them; at most ``limit``."""
        with self._database.reading() as connection:
            found = self._blessings(connection, namespace, model_key, after=after, limit=limit)
            if not found:
                self._version(connection, namespace, model_key, 1)  # an unknown key is told as such
            return found

    def _blessings(
        self, connection: Connection, namespace: str, model_key: str, *, after: int = 0, limit: int | None = None
    ) -> list[Blessing]:
        mine = (
            (blessings.c.namespace == namespace) & (blessings.c.model_key == model_key) & (blessings.c.number > after)
        )
        return [
            Blessing(
                namespace=row.namespace,
                model_key=row.model_key,
                number=row.number,
                act=Act(row.act),
                from_version=row.from_version,
                to_version=row.to_version,
                who=row.who,
                why=row.why,
                at=row.at.isoformat(),
            )
            for row in connection.execute(select(blessings).where(mine).order_by(blessings.c.number).limit(limit))
        ]

    def erase_person(self, name: str) -> Erasure:
        """Replace this person's name by a pseudonym in every namespace, for good; the table of erasures says when."""
        pseudonym = f"erased-{secrets.token_hex(6)}"
        with self._database.writing() as connection:
            counts = [
                connection.execute(column.table.update().where(column == name).values({column: pseudonym})).rowcount
                for column in (audit.c.created_by, blessings.c.who, searches.c.created_by)
            ]
            told = {"pseudonym": pseudonym, "versions": counts[0], "blessings": counts[1]}
            connection.execute(erasures.insert().values(at=self._clock(), **told))
        return Erasure(pseudonym=pseudonym, versions=counts[0], blessings=counts[1])

    def keeps(self, search_id: str) -> bool:
        """Whether a version of this search was ever blessed: its files are then kept when the search is deleted."""
        with self._database.reading() as connection:
            return is_kept(connection, search_id)


def is_kept(connection: Connection, search_id: str) -> bool:
    """Whether a version of this search was ever blessed."""
    same = (
        (blessings.c.namespace == audit.c.namespace)
        & (blessings.c.model_key == audit.c.model_key)
        & (blessings.c.to_version == audit.c.version)
    )
    query = select(audit.c.version).join(blessings, same).where(audit.c.search_id == search_id).limit(1)
    return connection.execute(query).first() is not None


def remember(
    connection: Connection,
    row: Row[Any],
    answer: Answer,
    now: dt.datetime,
    *,
    preflight: Preflight | None,
    placed: Sequence[Artifact],
) -> int:
    """Write the audit's row of a search that is complete; returns its version."""
    key = (audit.c.namespace == row.namespace) & (audit.c.model_key == row.model_key)
    latest = connection.execute(select(func.max(audit.c.version)).where(key)).scalar()
    version = int(latest or 0) + 1
    connection.execute(
        audit.insert().values(
            namespace=row.namespace,
            model_key=row.model_key,
            version=version,
            search_id=row.id,
            best_params=json.dumps(answer.best_params),
            score=null_if_nan(answer.best_score),
            metric=answer.metric,
            std=null_if_nan(answer.best_std),
            fits=row.candidates * row.splits,
            failed_fits=answer.failed_fits,
            pruned_fits=row.pruned,
            duration_seconds=(now - (row.started_at or row.opened_at)).total_seconds(),
            finished_at=now,
            data_digest=preflight.data_digest if preflight else "",
            split_digest=preflight.split_digest if preflight else "",
            estimator_digest=preflight.estimator_digest if preflight else "",
            versions=json.dumps(preflight.versions if preflight else {}),
            seed=preflight.seed if preflight else "",
            image=row.image,
            created_by=row.created_by,
            artifacts=row.artifacts,
            # none if the search stored its files with the release before
            files=_FILES.dump_json(tuple(placed)).decode() if placed else None,
            reused_from=json.dumps(_few(Cells(connection, row.id).sources() if row.reused else {})),
            scores=_SCORES.dump_json(answer.scores).decode() if answer.scores else None,
            choice=None if answer.choice is None else _CHOICE.dump_json(answer.choice).decode(),
            baseline=None if answer.baseline is None else _BASELINE.dump_json(answer.baseline).decode(),
            nested=None if answer.nested is None else _NESTED.dump_json(answer.nested).decode(),
        )
    )
    return version


def _few(sources: dict[str, int]) -> dict[str, int]:
    """The sources with the most cells, and all others as one, because a row of the audit has a bounded size."""
    first = dict(islice(sources.items(), _MOST_SOURCES))
    left = sum(sources.values()) - sum(first.values())
    return first | ({"others": left} if left else {})


def _stack(history: list[Blessing]) -> list[Blessing]:
    """The blessings in force as a stack: a blessing comes on top, a rollback takes the top away."""
    stack: list[Blessing] = []
    for each in history:
        if each.act is Act.BLESS:
            stack.append(each)
        else:
            stack.pop()
    return stack


def _row(row: Row[Any]) -> AuditRow:
    return AuditRow(
        namespace=row.namespace,
        model_key=row.model_key,
        version=row.version,
        search_id=row.search_id,
        best_params=params_in(row.best_params),
        score=nan_if_null(row.score),
        metric=row.metric,
        std=nan_if_null(row.std),
        fits=row.fits,
        failed_fits=row.failed_fits,
        pruned_fits=row.pruned_fits,
        duration_seconds=row.duration_seconds,
        finished_at=row.finished_at.isoformat(),
        data_digest=row.data_digest,
        split_digest=row.split_digest,
        estimator_digest=row.estimator_digest,
        image=row.image,
        versions=params_in(row.versions),
        seed=row.seed,
        created_by=row.created_by,
        artifacts=row.artifacts,
        files=None if row.files is None else _FILES.validate_json(row.files),
        reused_from=None if row.reused_from is None else json.loads(row.reused_from),
        scores={} if row.scores is None else _SCORES.validate_json(row.scores),
        choice=None if row.choice is None else _CHOICE.validate_json(row.choice),
        baseline=None if row.baseline is None else _BASELINE.validate_json(row.baseline),
        nested=None if row.nested is None else _NESTED.validate_json(row.nested),
    )
