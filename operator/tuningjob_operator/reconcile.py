"""One pass over one TuningJob: observe, plan, apply. The only place where the plan meets the world.

Order is what makes a crash harmless: the journal before the Secret before the Job before the status before the Event.
Each step may be repeated; the next pass begins from what is there. The Job is observed *before* the journal: a pod that
went home had reported before, so a finished Job beside an unfinished journal is what it seems.
"""

import asyncio
import datetime as dt
import logging
from dataclasses import replace
from typing import Final, Protocol, assert_never

from tuningjob.errors import UnknownSearch
from tuningjob.journal import Journal
from tuningjob.journal.artifacts import ArtifactStore
from tuningjob.journal.records import Progress, SearchState
from tuningjob.spec.manifest import load_spec
from tuningjob.spec.models import TuningJobSpec
from tuningjob.spec.status import TuningJobStatus
from tuningjob_operator import names, tokens
from tuningjob_operator import status as st
from tuningjob_operator.cache import Cache
from tuningjob_operator.children import (
    MAX_TEXT_BYTES,
    RESULT_FILES,
    ResultFiles,
    build_event,
    build_secret,
    token_expiry,
)
from tuningjob_operator.cluster import AlreadyExists, ApiError, Cluster, Conflict, NotFound
from tuningjob_operator.conditions import transitions
from tuningjob_operator.objects import Body, Key, has_condition, is_owned_by, uid_of
from tuningjob_operator.plan import (
    CreateJob,
    CreateToken,
    Observed,
    OpenSearch,
    Plan,
    PublishResults,
    ScaleJob,
    Step,
    plan,
)
from tuningjob_operator.settings import Settings

logger = logging.getLogger(__name__)

# A step may find the world to be other than observed (a Job gone, a name taken): the plan is then made again.
_MAX_LOOKS: Final = 4


class Clock(Protocol):
    """Time, as the reconcile needs it."""

    def now(self) -> dt.datetime:
        """The wall clock, aware."""

    def monotonic(self) -> float:
        """Seconds, for intervals."""


class _LookAgain(Exception):
    """A step found the world to be other than observed."""

    def __init__(self, *, results_name_taken: bool = False) -> None:
        self.results_name_taken = results_name_taken
        super().__init__()


class Reconciler:
    """Brings one TuningJob at a time a step nearer to what it asks for. Passes of different keys may interleave."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        journal: Journal,
        artifacts: ArtifactStore,
        cache: Cache,
        settings: Settings,
        signing_key: bytes,
        clock: Clock,
    ) -> None:
        self._cluster = cluster
        self._journal = journal
        self._artifacts = artifacts
        self._cache = cache
        self._settings = settings
        self._signing_key = signing_key
        self._clock = clock
        # Hints that a restart may lose: admitted specs (they never change), and when progress was last published.
        self._admitted: dict[str, TuningJobSpec] = {}
        self._published: dict[str, float] = {}

    async def reconcile(self, key: Key) -> float | None:
        """One pass. Returns after how many seconds to come again, unasked. Raises ApiError and JournalError."""
        for uid in self._cache.buried(key):
            await self._delete_search(uid)
            self._cache.deleted(key, uid)
        body = self._cache.tuningjobs.get(key)
        if body is None:
            return None
        results_name_taken = False
        for _ in range(_MAX_LOOKS):
            observed = replace(await self._observe(key, body), results_name_taken=results_name_taken)
            planned = plan(observed, self._settings, self._clock.now())
            try:
                for step in planned.steps:
                    await self._apply(body, step)
            except _LookAgain as again:
                results_name_taken = results_name_taken or again.results_name_taken
                continue
            return await self._publish(body, planned)
        raise ApiError(409, "Conflict", "the names of this TuningJob's objects keep changing hands")

    async def _delete_search(self, uid: str) -> None:
        for hints in (self._admitted, self._published):
            hints.pop(uid, None)
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
        observed = Observed(tuningjob=body, job=job, progress=progress)
        if progress is None:
            return observed
        observed = replace(observed, admitted=await self._admitted_spec(uid))
        if progress.state is SearchState.COMPLETE:
            return replace(observed, files=await asyncio.to_thread(self._result_files, uid))
        if progress.state is SearchState.RUNNING and job is not None and has_condition(job, "Failed"):
            return replace(observed, pods=await self._cluster.list_job_pods(key.namespace, job_uid=uid_of(job)))
        return observed

    def _progress(self, uid: str) -> Progress | None:
        try:
            return self._journal.progress(uid)
        except UnknownSearch:
            return None

    async def _admitted_spec(self, uid: str) -> TuningJobSpec:
        known = self._admitted.get(uid)
        if known is None:
            search = await asyncio.to_thread(self._journal.search, uid)
            known = self._admitted[uid] = load_spec(search.spec)
        return known

    def _result_files(self, uid: str) -> ResultFiles:
        contents: dict[str, bytes] = {}
        oversized: list[str] = []
        for name in RESULT_FILES:
            try:
                with self._artifacts.open(uid, name) as file:
                    content = file.read(MAX_TEXT_BYTES + 1)
            except FileNotFoundError:
                continue
            if len(content) > MAX_TEXT_BYTES:
                oversized.append(name)
            else:
                contents[name] = content
        return ResultFiles(contents, tuple(oversized))

    async def _apply(self, body: Body, step: Step) -> None:
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        match step:
            case OpenSearch(new=new):
                where = self._artifacts.url(new.id)
                await asyncio.to_thread(self._journal.open_search, replace(new, artifacts=where))
                logger.info("opened the search", extra={"search": new.id, "fits": new.candidates * new.splits})
            case CreateToken():
                await self._create_token(body)
            case CreateJob(body=job):
                await self._create_job(job)
            case ScaleJob():
                await self._scale_job(Key(namespace, name), step)
            case PublishResults(body=configmap):
                await self._publish_results(body, configmap)
            case _:
                assert_never(step)

    async def _create_token(self, body: Body) -> None:
        token = tokens.issue(self._signing_key, uid_of(body), token_expiry(body))
        # read each time: a renewed authority is for the searches that come after it
        ca_file = self._settings.ca_file
        ca = None if ca_file is None else await asyncio.to_thread(ca_file.read_bytes)
        try:
            await self._cluster.create_secret(build_secret(body, token, ca=ca))
        except AlreadyExists:
            # its name holds our uid, and it is immutable: a pass before this one made it
            logger.debug("the token is there")

    async def _create_job(self, job: Body) -> None:
        try:
            self._cache.jobs.put(await self._cluster.create_job(job))
            logger.info("created the job")
        except AlreadyExists:
            # ours from a pass that did not hear of its success, a namesake's, or somebody else's: the plan will tell
            metadata = job["metadata"]
            self._cache.jobs.put(await self._cluster.get_job(metadata["namespace"], metadata["name"]))
            raise _LookAgain from None

    async def _scale_job(self, key: Key, step: ScaleJob) -> None:
        name, size = names.job_name(key.name), {"pods": step.pods, "deaths": step.deaths}
        try:
            job = await self._cluster.scale_job(key.namespace, name, uid=step.uid, **size)
        except (NotFound, Conflict):
            self._cache.jobs.forget(key)  # deleted, perhaps made again: what we knew of it is no longer there
            raise _LookAgain from None
        self._cache.jobs.put(job)
        logger.info("scaled the job", extra=size)

    async def _publish_results(self, body: Body, configmap: Body) -> None:
        metadata = configmap["metadata"]
        try:
            await self._cluster.create_configmap(configmap)
        except AlreadyExists:
            found = await self._cluster.get_configmap(metadata["namespace"], metadata["name"])
            if not is_owned_by(found, body):
                # never overwrite what a user may not be allowed to write: say it, and leave it
                raise _LookAgain(results_name_taken=True) from None

    async def _publish(self, body: Body, planned: Plan) -> float | None:
        """Write the status if it is worth it, and only then tell of what changed in it."""
        uid, old, new = uid_of(body), st.read_status(body), planned.status
        now = self._clock.monotonic()
        since = now - self._published.get(uid, -st.MIN_INTERVAL_SECONDS)
        delay = st.publication_delay(old, new, seconds_since_last=since)
        if delay is None:
            return planned.wake_after
        if delay > 0:
            return delay if planned.wake_after is None else min(delay, planned.wake_after)
        try:
            written = await self._cluster.replace_status({**body, "status": st.dump_status(new)})
        except NotFound:
            # deleted meanwhile, and its event may have come before our last write's answer: it is no ghost of ours
            self._cache.remove_tuningjob(body)
            return 0.0
        self._published[uid] = now
        self._cache.put_tuningjob(written)
        await self._tell(written, old, new)
        return planned.wake_after

    async def _tell(self, body: Body, old: TuningJobStatus, new: TuningJobStatus) -> None:
        for condition in transitions(st.conditions_of(old), st.conditions_of(new)):
            logger.info(
                "condition changed",
                extra={"condition": condition.type, "status": condition.status, "reason": condition.reason},
            )
            try:
                await self._cluster.create_event(build_event(body, condition, self._clock.now()))
            except ApiError as error:
                # told already, or not to be told: the condition itself says it
                logger.debug("the event was not taken", extra={"error": str(error)})
