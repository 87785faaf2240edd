"""Carry out the steps of a plan, in the journal and in the cluster. Each may be repeated with the same effect as once.

A step that finds anything other than the plan had observed raises StaleObservation, and the plan is made again.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import assert_never

from tuningjob.artifacts.store import ArtifactStore
from tuningjob.journal.records import EndedBy
from tuningjob.journal.sql import SqlJournal
from tuningjob_operator import names, tokens
from tuningjob_operator.cluster.cache import Cache
from tuningjob_operator.cluster.contract import AlreadyExists, ApiError, ClusterApi, Conflict, NotFound
from tuningjob_operator.decide.decision import (
    CreateJob,
    CreateToken,
    DeleteJob,
    DeleteTuningJob,
    EndSearch,
    GiveBack,
    OpenSearch,
    Pardon,
    PublishResults,
    Release,
    ScaleJob,
    Step,
    SuspendJob,
)
from tuningjob_operator.decide.owned_objects import build_secret
from tuningjob_operator.objects import Body, Key, is_owned_by, uid_of
from tuningjob_operator.settings import Settings

logger = logging.getLogger(__name__)


class StaleObservation(Exception):
    """A step found the world to be other than the plan had observed."""

    def __init__(self, *, results_name_taken: bool = False, results_refused: str | None = None) -> None:
        self.results_name_taken = results_name_taken
        self.results_refused = results_refused
        super().__init__()


class Executor:
    """Carries out the steps of a plan."""

    def __init__(
        self,
        *,
        cluster: ClusterApi,
        journal: SqlJournal,
        artifacts: ArtifactStore,
        cache: Cache,
        keys: tokens.Keys,
        settings: Settings,
    ) -> None:
        self._cluster = cluster
        self._journal = journal
        self._artifacts = artifacts
        self._cache = cache
        self._keys = keys
        self.settings = settings

    async def apply(self, body: Body, step: Step) -> bool:
        """Take a step for this TuningJob; returns whether it opened a search. Raises StaleObservation, ApiError, JournalError."""
        if isinstance(step, OpenSearch):
            return await self._open_search(step)
        if isinstance(step, EndSearch | GiveBack | Release | Pardon):
            await self._apply_to_journal(body, step)
        else:
            await self._apply_to_cluster(body, step)
        return False

    async def _open_search(self, step: OpenSearch) -> bool:
        new = step.new
        is_new = await asyncio.to_thread(self._journal.open_search, replace(new, artifacts=self._artifacts.url(new.id)))
        logger.info("opened the search", extra={"search": new.id, "fits": new.candidates * new.splits})
        return is_new

    async def _apply_to_journal(self, body: Body, step: EndSearch | GiveBack | Release | Pardon) -> None:
        match step:
            case EndSearch(text=text):
                reason = text.partition(":")[0]
                await asyncio.to_thread(self._journal.fail, uid_of(body), text, by=EndedBy.OPERATOR, reason=reason)
                logger.info("ended the search", extra={"search": uid_of(body), "reason": reason})
            case GiveBack(first=first):
                await asyncio.to_thread(self._journal.give_back, uid_of(body), first=first)
                logger.info("gave back what pods left", extra={"first_index": first})
            case Release(indexes=indexes):
                for index in indexes:
                    await asyncio.to_thread(self._journal.view(uid_of(body)).leave, index=index)
                logger.info("released the work of lost pods", extra={"indexes": indexes})
            case Pardon(pods=pods):
                await asyncio.to_thread(self._journal.pardon, uid_of(body), pods)
                logger.info("took back the deaths of pods that were evicted", extra={"pods": pods})
            case _:
                assert_never(step)

    async def _apply_to_cluster(
        self,
        body: Body,
        step: CreateToken | CreateJob | ScaleJob | SuspendJob | DeleteJob | PublishResults | DeleteTuningJob,
    ) -> None:
        key = Key(body["metadata"]["namespace"], body["metadata"]["name"])
        match step:
            case CreateToken():
                await self._create_token(body)
            case CreateJob(body=job):
                await self._create_job(job)
            case ScaleJob():
                await self._scale_job(key, uid_of(body), step)
            case SuspendJob(uid=uid, suspend=suspend):
                await self._suspend_job(key, uid, suspend=suspend)
            case DeleteJob(uid=uid):
                await self._delete_job(key, uid)
            case PublishResults(body=configmap):
                await self._publish_results(body, configmap)
            case DeleteTuningJob():
                await self._delete_tuningjob(body)
            case _:
                assert_never(step)

    async def _create_token(self, body: Body) -> None:
        token = tokens.issue(self._keys, uid_of(body))
        secret = build_secret(body, token, secret_id=self.settings.secret_ids[0], ca=self.settings.ca)
        try:
            await self._cluster.create_secret(secret)
        except AlreadyExists:
            # an earlier pass made it; it is immutable, and its name says what is in it
            logger.debug("the token is there")

    async def _create_job(self, job: Body) -> None:
        try:
            self._cache.put_job(await self._cluster.create_job(job))
            logger.info("created the job")
        except AlreadyExists:
            # ours from a pass that got no answer, a namesake's, or another owner's: the next plan finds out which
            metadata = job["metadata"]
            self._cache.put_job(await self._cluster.get_job(metadata["namespace"], metadata["name"]))
            raise StaleObservation from None

    async def _scale_job(self, key: Key, search: str, step: ScaleJob) -> None:
        size = {"pods": step.pods, "deaths": step.deaths}
        # units are cut for the new pods before these come
        await asyncio.to_thread(self._journal.set_pods, search, step.planned)
        await self._change_job(key, lambda name: self._cluster.scale_job(key.namespace, name, uid=step.uid, **size))
        logger.info("scaled the job", extra=size)

    async def _suspend_job(self, key: Key, uid: str, *, suspend: bool) -> None:
        await self._change_job(
            key, lambda name: self._cluster.suspend_job(key.namespace, name, uid=uid, suspend=suspend)
        )
        logger.info("suspended the job" if suspend else "resumed the job")

    async def _delete_job(self, key: Key, uid: str) -> None:
        """Delete the Job. It stays until its pods are gone, and an event says when it has gone."""
        name = names.job_name(key.name)
        try:
            await self._cluster.delete_job(key.namespace, name, uid=uid)
        except (NotFound, Conflict):
            self._cache.jobs.forget(key)
            raise StaleObservation from None
        logger.info("deleted the job")

    async def _change_job(self, key: Key, change: Callable[[str], Awaitable[Body]]) -> None:
        try:
            self._cache.put_job(await change(names.job_name(key.name)))
        except (NotFound, Conflict):
            self._cache.jobs.forget(key)  # the Job that we knew was deleted, and perhaps made again
            raise StaleObservation from None

    async def _delete_tuningjob(self, body: Body) -> None:
        metadata = body["metadata"]
        with contextlib.suppress(NotFound):
            await self._cluster.delete_tuningjob(
                metadata["namespace"],
                metadata["name"],
                uid=uid_of(body),
                resource_version=metadata["resourceVersion"],
            )
        logger.info("deleted the TuningJob: its time to live was over")

    async def _publish_results(self, body: Body, configmap: Body) -> None:
        metadata = configmap["metadata"]
        try:
            await self._cluster.create_configmap(configmap)
        except AlreadyExists:
            found = await self._cluster.get_configmap(metadata["namespace"], metadata["name"])
            if not is_owned_by(found, body):
                # never overwrite an object that the user may have no right to write: report it
                raise StaleObservation(results_name_taken=True) from None
        except ApiError as error:
            if not error.is_about_the_object:
                raise
            # a worker's text must not keep its search from ending
            logger.warning("the results were refused", extra={"error": str(error)})
            raise StaleObservation(results_refused=error.message) from None
