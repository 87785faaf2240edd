"""``python -m tuningjob_operator.service``: the results service in its container."""

import asyncio
import gc
import logging
import sys
from typing import Final

import uvicorn

from tuningjob.artifacts.opening import open_store
from tuningjob.artifacts.store import ArtifactStore
from tuningjob.artifacts.uploads import Uploads, a_day_ago
from tuningjob.errors import ArtifactsUnavailable, TuningJobError
from tuningjob.journal.records import Shares
from tuningjob.journal.sql import SqlJournal
from tuningjob_operator import logs, tokens
from tuningjob_operator.service.api_server import find_api_server
from tuningjob_operator.service.app import make_app
from tuningjob_operator.service.connections import guarded
from tuningjob_operator.service.identity import KubernetesPeople, find_audience
from tuningjob_operator.service.probes import room_in
from tuningjob_operator.service.tls import Certificate, MountedCertificate, OwnCertificate
from tuningjob_operator.settings import Settings, read_settings

logger = logging.getLogger("tuningjob_operator.service")

# A forest of a few hundred deep trees is a gigabyte; the volume's size is the administrator's limit.
MAX_ARTIFACT_BYTES: Final = 4 * 2**30
# The share of the volume that files leave to the journal.
_RESERVE: Final = 0.1
# How long a request may still take after SIGTERM; the pod's grace is 30 seconds.
_GRACE_SECONDS: Final = 20
_TIDY_SECONDS: Final = 3_600
# After this long a computing thread gives way to one that has waited for the database. Python's own 5 ms, at each statement of a
# report, would be most of the time for which the report holds SQLite's lock.
_SWITCH_SECONDS: Final = 0.0005


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; running requests are answered first. Raises the error that keeps it from starting."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    certificate = _certificate(settings)
    journal = SqlJournal(settings.database_url)
    try:
        artifacts = open_store(
            settings.artifacts_url, max_bytes=MAX_ARTIFACT_BYTES, scratch=settings.scratch_dir, reserve=_RESERVE
        )
        artifacts.sweep()
        _look_at(artifacts)
        asyncio.run(_serve(settings, journal, artifacts, certificate))
    finally:
        journal.close()


def _certificate(settings: Settings) -> Certificate | None:
    """The certificate of the service; None if it speaks plain HTTP."""
    if settings.tls_dir is None:
        return None
    if settings.tls_names:
        return OwnCertificate(settings.tls_dir, settings.tls_names, life=settings.tls_life)
    return MountedCertificate(settings.tls_dir)


def shares_of(settings: Settings, artifacts: ArtifactStore) -> Shares:
    """The shares of files and namespaces, by the volume's present size; a bucket has no size."""
    volume = artifacts.volume_bytes or 0
    namespace_bytes = settings.max_namespace_bytes or volume * settings.max_namespace_percent // 100
    return Shares(search_bytes=settings.max_artifact_bytes, namespace_bytes=namespace_bytes)


def uploads_of(settings: Settings, artifacts: ArtifactStore) -> Uploads:
    """The store of what people send, with the share of each namespace, as in ``shares_of``."""
    part = (artifacts.volume_bytes or 0) * settings.max_data_percent // 100
    return Uploads(artifacts, namespace_bytes=settings.max_data_bytes or part)


def _look_at(artifacts: ArtifactStore) -> None:
    """Check the artifact store at the start, so that a bad bucket is logged now and not at the first upload, hours later."""
    try:
        artifacts.check()
    except ArtifactsUnavailable as unavailable:
        logger.warning("files could not be stored now: %s", unavailable)


async def _serve(
    settings: Settings, journal: SqlJournal, artifacts: ArtifactStore, certificate: Certificate | None
) -> None:
    server = find_api_server()
    uploads = uploads_of(settings, artifacts)
    app = make_app(
        journal,
        artifacts,
        tokens.read_keys(settings.signing_key_dir, settings.signing_key_file),
        persons=None if server is None else KubernetesPeople(server, audience=find_audience()),
        checks=(journal.check,),
        writing=(journal.check_writing, room_in(settings.data_dir)),
        shares=shares_of(settings, artifacts),
        uploads=uploads,
    )
    config = uvicorn.Config(
        app,
        host="0.0.0.0",  # noqa: S104  every pod of the cluster is a client
        port=settings.results_port,
        http=guarded(),
        timeout_graceful_shutdown=_GRACE_SECONDS,
        server_header=False,
        access_log=False,
        log_config=None,
        ws="none",
        ssl_context_factory=None if certificate is None else lambda _config, _default: certificate.context(),
    )
    config.load()
    # what exists now stays: each search for garbage in it kept requests waiting for 70 ms
    gc.collect()
    gc.freeze()
    watching = {asyncio.create_task(_tidy(journal, uploads))}
    if certificate is not None and config.ssl is not None:
        watching.add(asyncio.create_task(certificate.watch(config.ssl)))
    try:
        await uvicorn.Server(config).serve()
    finally:
        for task in watching:
            task.cancel()


async def _tidy(journal: SqlJournal, uploads: Uploads) -> None:
    """Remove data that no search names any more, every hour."""
    while True:
        await asyncio.sleep(_TIDY_SECONDS)
        try:
            in_use = await asyncio.to_thread(journal.data_in_use)
            removed = await asyncio.to_thread(uploads.remove_unused, in_use, before=a_day_ago())
        except (TuningJobError, OSError) as error:  # the database or the bucket is away: an hour later is as good
            logger.warning("data that nobody needs were not removed: %s", error)
            continue
        if removed:
            logger.info("removed data that no search names any more", extra={"files": removed})


def main() -> int:
    """Run the service; returns the exit code."""
    logs.configure()
    try:
        settings = read_settings()
        logs.set_level(settings.log_level)
        serve(settings)
    except (TuningJobError, ValueError) as error:
        logger.critical("cannot start: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
