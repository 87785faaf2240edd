"""One pass over one TuningJob: observe, plan, apply. Only here is a plan made from the world and carried out in it.

The order makes a crash harmless: the journal before the Secret before the Job before the status before the Event. Each step may
be repeated; the next pass begins from what is there. The Job is observed *before* the journal: a pod reports before it ends, so
a finished Job beside an unfinished journal is what it seems.
"""

import asyncio
import contextlib
import functools
import json
import logging
import math
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final

from tuningjob.artifacts.store import ArtifactStore
from tuningjob.errors import JournalError, ManifestRefused, UnknownSearch
from tuningjob.journal.records import Progress
from tuningjob.journal.sql import SqlJournal
from tuningjob.manifest.loading import load_spec
from tuningjob.manifest.models import TuningJobSpec
from tuningjob.manifest.status import TuningJobStatus
from tuningjob.protocol.records import SearchState
from tuningjob_operator import names
from tuningjob_operator.cluster.aside import LARGE_BYTES, PLANNING
from tuningjob_operator.cluster.cache import Cache
from tuningjob_operator.cluster.contract import ApiError, ClusterApi, Conflict, NotFound
from tuningjob_operator.cluster.surroundings import SurroundingsCache
from tuningjob_operator.control.admitted import AdmittedSpecs
from tuningjob_operator.control.apply import Executor, StaleObservation
from tuningjob_operator.control.service_watch import ServiceWatch
from tuningjob_operator.decide import job_state
from tuningjob_operator.decide import status as st
from tuningjob_operator.decide.admission import read_spec
from tuningjob_operator.decide.conditions import transitions
from tuningjob_operator.decide.decision import DeleteTuningJob, Look, Observed, OpenSearch, Plan, PlanBuilder, ScaleJob
from tuningjob_operator.decide.owned_objects import build_event, read_files
from tuningjob_operator.decide.plan import beyond, plan
from tuningjob_operator.decide.shown import changes_of, with_service
from tuningjob_operator.objects import Body, Clock, Key, clip, generation_of, ignore, uid_of
from tuningjob_operator.reading import is_large, is_partial, unreadable
from tuningjob_operator.settings import Settings
from tuningjob_operator.tokens import Keys

logger = logging.getLogger(__name__)

# How often a plan is made in one pass: it is made again if a step finds the world to be other than observed (a Job gone, a name
# taken), or if it asks for another look.
_MAX_LOOKS: Final = 12


# Workers' claims cause a look at pods, or a change of the Job, at most this often.
PACE_SECONDS: Final = 10.0

# Refusals that last until a person changes something.
_REFUSALS: Final = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.UNPROCESSABLE_ENTITY})


# Called with a search's uid and its progress each time this is read; None if the search is not open yet.
OnProgress = Callable[[str, Progress | None], None]


class Reconciler:
    """Brings one TuningJob at a time a step nearer to what it asks for. Passes of different keys may interleave."""

    def __init__(
        self,
        *,
        cluster: ClusterApi,
        journal: SqlJournal,
        artifacts: ArtifactStore,
        cache: Cache,
        settings: Settings,
        keys: Keys,
        clock: Clock,
        service: ServiceWatch,
        on_progress: OnProgress = ignore,
    ) -> None:
        self._cluster = cluster
        self._journal = journal
        self._artifacts = artifacts
        self._cache = cache
        self._settings = settings
        self._hands = Executor(
            cluster=cluster,
            journal=journal,
            artifacts=artifacts,
            cache=cache,
            keys=keys,
            settings=settings,
        )
        self._clock = clock
        self._service = service
        self._on_progress = on_progress
        self._surroundings = SurroundingsCache(
            cluster, cache.jobs, clock=clock.monotonic, with_nodes=settings.checks_nodes
        )
        # Hints that a restart may lose: admitted specs (they never change), when progress was last published, since when
        # pods have been missing, and for how many deaths pods were looked at.
        self._admitted = AdmittedSpecs()
        self._frozen_changes: dict[str, tuple[int, tuple[str, ...]]] = {}
        self._published: dict[str, float] = {}
        self._short_since: dict[str, float] = {}
        self._deaths_looked_into: dict[str, tuple[int, float]] = {}
        self._scaled: dict[str, float] = {}
        # An answer takes some MiB while it is published, so only one is at a time.
        self._publishing = asyncio.Semaphore(1)

    def trust(self, ca: bytes) -> None:
        """Let pods trust this authority from now on; those with another one are made again, at their search's next pass."""
        self._settings = self._hands.settings = replace(self._settings, ca=ca)

    async def reconcile(self, key: Key) -> float | None:
        """Make one pass. Returns in how many seconds to make the next, or None. Raises ApiError and JournalError."""
        for uid in self._cache.tombstones(key):
            await self._delete_search(uid)
            self._cache.deleted(key, uid)
        body = self._cache.tuningjobs.get(key) or await self._taken_in(key)
        if body is None:
            return None
        try:
            return await self._pass(key, body)
        except JournalError as error:
            await self._tell_of_the_journal(body, error)
            raise

    async def _taken_in(self, key: Key) -> Body | None:
        """A TuningJob that had no room, if there is room for it now; else None."""
        if not self._cache.may_enter(key):
            return None
        try:
            self._cache.put_tuningjob(await self._cluster.get_tuningjob(key.namespace, key.name, whole=False))
        except NotFound:
            self._cache.is_gone(key)
        return self._cache.tuningjobs.get(key)

    async def look_beyond(self, key: Key, body: Body) -> None:
        """Give a TuningJob without room the condition that says so, and delete it when its time to live is over."""
        if st.has_ended(st.read_status(body)):
            await self._pass(key, body)
        else:
            await self._publish(body, beyond(body, self._settings, self._clock.now()))

    async def _pass(self, key: Key, body: Body) -> float | None:
        observed = await self._observe(key, body)
        is_complete = observed.progress is not None and observed.progress.state is SearchState.COMPLETE
        async with self._publishing if is_complete else contextlib.nullcontext():
            return await self._carry_out(key, await self._with_files(observed))

    async def _carry_out(self, key: Key, observed: Observed) -> float | None:
        body = observed.tuningjob
        for _ in range(_MAX_LOOKS):
            planned = await self._planned(observed)
            if planned.look is not None:
                observed = await self._look(key, observed, planned.look)
                continue
            try:
                for step in planned.steps:
                    applied = await self._hands.apply(body, step)
                    if isinstance(step, ScaleJob):
                        self._scaled[uid_of(body)] = self._clock.monotonic()
                    if isinstance(step, OpenSearch) and applied:
                        self._remember(body, step)
            except StaleObservation as again:
                taken = observed.results_name_taken or again.results_name_taken
                refused = again.results_refused or observed.results_refused
                observed = await self._with_files(await self._observe(key, body))
                observed = replace(observed, results_name_taken=taken, results_refused=refused)
                continue
            except ApiError as error:
                if error.status in _REFUSALS:
                    self._surroundings.forget(key.namespace)  # there may be a new quota
                    await self._tell_of_a_refusal(body, planned, error)
                raise
            if any(isinstance(step, DeleteTuningJob) for step in planned.steps):
                return None
            return await self._publish(body, planned)
        raise ApiError(409, "Conflict", "the names of this TuningJob's objects keep changing hands")

    def _remember(self, body: Body, opened: OpenSearch) -> None:
        """Keep the spec that a search was opened with, so that it need not be read from the journal."""
        uid = uid_of(body)
        self._admitted.put(uid, opened.spec, len(json.dumps(opened.new.spec)))
        self._frozen_changes[uid] = (generation_of(body), ())

    async def _planned(self, observed: Observed) -> Plan:
        """Make the plan; if the spec is large, in a thread of its own."""
        now = self._clock.now()
        spec_bytes = self._admitted.bytes_of(uid_of(observed.tuningjob))
        try:
            if observed.files or is_large(observed.tuningjob) or spec_bytes > LARGE_BYTES:
                return await PLANNING.run(plan, observed, self._settings, now)
            return plan(observed, self._settings, now)
        except Exception as error:
            await self._tell_of_a_fault(observed.tuningjob, error)
            raise

    async def _tell_of_a_fault(self, body: Body, error: Exception) -> None:
        """Report a fault of the operator that this TuningJob has brought to light. The pass is retried with growing delays."""
        status = st.read_status(body)
        if st.has_ended(status) or body["metadata"].get("deletionTimestamp"):
            return
        message = (
            f"The operator could not plan for this TuningJob ({type(error).__name__}): see its log, and report this. It tries "
            "again later. To end the search now, delete the TuningJob."
        )
        view = self._view(body, status).noted(names.ADMITTED, is_true=False, reason=names.FAULT, message=message)
        with contextlib.suppress(ApiError):
            await self._publish(body, view.planned())

    async def _tell_of_a_refusal(self, body: Body, planned: Plan, error: ApiError) -> None:
        """Report a refusal of the API server. The pass is retried, because a policy may be the reason, and may change."""
        message = f"The API server refused what the search needs: {error.message}"
        status = st.read_status(body) if st.has_ended(planned.status) else planned.status
        view = self._view(body, status).noted(
            names.ADMITTED, is_true=False, reason=error.reason or names.REFUSED, message=message
        )
        with contextlib.suppress(ApiError):
            await self._publish(body, view.planned())

    async def _tell_of_the_journal(self, body: Body, error: JournalError) -> None:
        """Say in the status that the database is away. Errors of this are ignored, because the pass fails anyway."""
        status = st.read_status(body)
        if st.has_ended(status) or body["metadata"].get("deletionTimestamp"):
            return
        view = with_service(self._view(body, status), f"The journal does not answer: {error}")
        with contextlib.suppress(ApiError):
            await self._publish(body, view.planned())

    def _view(self, body: Body, status: TuningJobStatus) -> PlanBuilder:
        return PlanBuilder(
            observed=Observed(tuningjob=body),
            settings=self._settings,
            now=self._clock.now(),
            status=status,
            conditions=st.conditions_of(status),
        )

    def _forget_hints(self, uid: str) -> None:
        self._admitted.pop(uid)
        hints: dict[str, Any]
        for hints in (
            self._frozen_changes,
            self._published,
            self._short_since,
            self._deaths_looked_into,
            self._scaled,
        ):
            hints.pop(uid, None)

    async def _delete_search(self, uid: str) -> None:
        self._forget_hints(uid)
        await asyncio.to_thread(self._journal.delete, uid)
        keeps_files = await asyncio.to_thread(self._journal.audit.keeps, uid)
        if not keeps_files:
            await asyncio.to_thread(self._artifacts.delete, uid)
        logger.info("deleted the search", extra={"search": uid, "kept_files": keeps_files})

    async def _observe(self, key: Key, body: Body) -> Observed:
        uid = uid_of(body)
        job = self._cache.jobs.get(key)
        if st.has_ended(st.read_status(body)) or body["metadata"].get("deletionTimestamp"):
            return Observed(tuningjob=body, job=job)
        progress = await asyncio.to_thread(self._progress, uid)
        self._on_progress(uid, progress)
        observed = Observed(
            tuningjob=body,
            job=job,
            progress=progress,
            service_trouble=self._service.trouble,
            unready_seconds=self._unready_seconds(uid, is_short=job_state.is_short_of_pods(job, body)),
        )
        admitted = None if progress is None else await self._admitted_spec(uid)
        if progress is None or admitted is None:
            # admission needs the whole spec
            whole = await self._whole(key, body)
            return replace(observed, tuningjob=whole, asked=await self._read(whole))
        found = replace(observed, admitted=admitted, frozen_changes=await self._compared(key, body, admitted))
        return self._with_deaths(found, uid, progress)

    async def _whole(self, key: Key, body: Body) -> Body:
        """A TuningJob with its spec, unless that is never read. Raises Conflict if it has changed."""
        if not is_partial(body) or unreadable(body) is not None:
            return body
        try:
            found = await self._cluster.get_tuningjob(key.namespace, key.name)
        except NotFound:
            found = {}
        if not found or uid_of(found) != uid_of(body):
            raise Conflict(HTTPStatus.CONFLICT, "Conflict", "the TuningJob is no longer there")
        return found

    async def _read(self, body: Body) -> TuningJobSpec | ManifestRefused:
        """The spec of a TuningJob, or why it is refused; read once for all plans of this pass."""
        try:
            return await PLANNING.run(read_spec, body) if is_large(body) else read_spec(body)
        except ManifestRefused as refused:
            return refused

    async def _compared(self, key: Key, body: Body, admitted: TuningJobSpec) -> tuple[str, ...]:
        """The fields of the spec that differ from the admitted one; compared once for each change of the spec."""
        uid, generation = uid_of(body), generation_of(body)
        known = self._frozen_changes.get(uid)
        if known is None or known[0] != generation:
            whole = await self._whole(key, body)
            if is_large(whole):
                changes = await PLANNING.run(changes_of, admitted, whole)
            else:
                changes = changes_of(admitted, whole)
            known = self._frozen_changes[uid] = (generation, changes)
        return known[1]

    def _with_deaths(self, observed: Observed, uid: str, progress: Progress) -> Observed:
        """Note whether and how soon pods are looked at, or the Job is changed, for deaths: a worker can make up any number."""
        now = self._clock.monotonic()
        deaths, looked = self._deaths_looked_into.get(uid, (0, -math.inf))
        looks_in = None if progress.deaths <= deaths else max(0.0, looked + PACE_SECONDS - now)
        return replace(
            observed,
            has_new_deaths=looks_in == 0,
            looks_in=looks_in or None,
            scales_in=max(0.0, self._scaled.get(uid, -math.inf) + PACE_SECONDS - now),
        )

    async def _with_files(self, observed: Observed) -> Observed:
        progress = observed.progress
        if progress is None or progress.state is not SearchState.COMPLETE:
            return observed
        open_file = functools.partial(self._artifacts.open, progress.id)
        return replace(observed, files=await asyncio.to_thread(read_files, open_file))

    def _unready_seconds(self, uid: str, *, is_short: bool) -> float:
        if not is_short:
            self._short_since.pop(uid, None)
            return 0.0
        now = self._clock.monotonic()
        return now - self._short_since.setdefault(uid, now)

    async def _look(self, key: Key, observed: Observed, look: Look) -> Observed:
        """Fetch the facts that the plan asked for."""
        looked = observed.looked | {look}
        match look:
            case Look.PODS:
                pods = await self._cluster.list_worker_pods(key.namespace, uid=uid_of(observed.tuningjob))
                if observed.progress is not None:
                    seen = (observed.progress.deaths, self._clock.monotonic())
                    self._deaths_looked_into[uid_of(observed.tuningjob)] = seen
                return replace(observed, looked=looked, pods=pods)
            case Look.SURROUNDINGS:
                around = await self._surroundings.of(key.namespace)
                return replace(observed, looked=looked, surroundings=around)

    def _progress(self, uid: str) -> Progress | None:
        try:
            return self._journal.progress(uid)
        except UnknownSearch:
            return None

    async def _admitted_spec(self, uid: str) -> TuningJobSpec | None:
        """The journal's copy of the spec; None if this release cannot read it: then the TuningJob's own spec counts."""
        known = self._admitted.get(uid)
        if known is not None:
            return known
        try:
            search = await asyncio.to_thread(self._journal.view(uid).search)
            size = len(json.dumps(search.spec))
            spec = await PLANNING.run(load_spec, search.spec) if size > LARGE_BYTES else load_spec(search.spec)
        except (ManifestRefused, ValueError, RecursionError) as error:
            logger.warning("the journal's spec was not read", extra={"error": clip(str(error), 1_000)})
            return None
        self._admitted.put(uid, spec, size)
        return spec

    async def _publish(self, body: Body, planned: Plan) -> float | None:
        """Write the status if it is worth a call, and only then create the Events of its changes."""
        uid, old, new = uid_of(body), st.read_status(body), planned.status
        now = self._clock.monotonic()
        since = now - self._published.get(uid, -st.MIN_INTERVAL_SECONDS)
        delay = st.publication_delay(old, new, seconds_since_last=since, now=self._clock.now())
        if delay is None:
            return planned.wake_after
        if delay > 0:
            return delay if planned.wake_after is None else min(delay, planned.wake_after)
        try:
            written = await self._write_status(body, new)
        except NotFound:
            # deleted meanwhile; its event may have come before the answer to our last write, which would have put it back
            self._cache.remove_tuningjob(body)
            return 0.0
        self._published[uid] = now
        if st.has_ended(new):
            self._forget_hints(uid)  # there may be any number of ended searches
        self._cache.put_tuningjob(written)
        await self._tell(written, old, new)
        return planned.wake_after

    async def _write_status(self, body: Body, status: TuningJobStatus) -> Body:
        """Write as much of the status as the object has room for: a spec may fill all that etcd takes."""
        try:
            return await self._cluster.replace_status({**body, "status": st.dump_status(status)})
        except ApiError as error:
            if not error.is_about_the_object:
                raise
            # if there is no room for that either, the pass fails, and its log line has the same words
            logger.debug("the status was refused: writing the least of it", extra={"error": clip(str(error), 1_000)})
        return await self._cluster.replace_status({**body, "status": st.dump_status(st.least(status))})

    async def _tell(self, body: Body, old: TuningJobStatus, new: TuningJobStatus) -> None:
        for condition in transitions(st.conditions_of(old), st.conditions_of(new)):
            logger.info(
                "condition changed",
                extra={"condition": condition.type, "status": condition.status, "reason": condition.reason},
            )
            try:
                await self._cluster.create_event(
                    build_event(body, condition, self._clock.now(), self._settings.pages_url)
                )
            except ApiError as error:
                # it exists already, or is refused: the condition itself says the same
                logger.debug("the event was not taken", extra={"error": str(error)})
