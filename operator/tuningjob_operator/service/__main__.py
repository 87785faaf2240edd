"""``python -m tuningjob_operator.service``: the results service in its container."""

import logging
import sys
from typing import Final

import uvicorn

from tuningjob.journal.artifacts import ArtifactStore
from tuningjob.journal.sql import SqlJournal, utc_now
from tuningjob_operator import tokens
from tuningjob_operator.service.app import make_app
from tuningjob_operator.settings import Settings, read_settings

# A forest of a few hundred deep trees is a gigabyte; the volume's size is the administrator's limit.
MAX_ARTIFACT_BYTES: Final = 4 * 2**30
# What a request may still take after SIGTERM; the pod's grace is 30 seconds.
_GRACE_SECONDS: Final = 20


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; running requests are answered first."""
    journal = SqlJournal(settings.database_url)
    artifacts = ArtifactStore(settings.artifacts_dir, max_bytes=MAX_ARTIFACT_BYTES)
    artifacts.sweep()
    key = tokens.load_or_create_key(settings.signing_key_file)
    try:
        uvicorn.run(
            make_app(journal, artifacts, key, utc_now),
            host="0.0.0.0",  # noqa: S104  every pod of the cluster is a client
            port=settings.results_port,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            server_header=False,
            access_log=False,
            log_config=None,
            ws="none",
        )
    finally:
        journal.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    serve(read_settings())
