"""kopf's part: two watches that fill the cache and enqueue keys, the login, the probe. Nothing is decided here.

All handlers are `on.event`: they cost no PATCH, no annotation and no finalizer, so deleting a namespace or uninstalling the chart
can never hang on them. kopf's own docs describe each setting below under its name; the reasons are here.
"""

import logging
from typing import Any, Final

import kopf
from kopf._core.reactor import inventory

from tuningjob.manifest.wellknown import GROUP, PLURAL, VERSION
from tuningjob_operator import names
from tuningjob_operator.cluster import kopf_reading
from tuningjob_operator.cluster.cache import Cache
from tuningjob_operator.cluster.http import REQUEST_SECONDS
from tuningjob_operator.cluster.login import login
from tuningjob_operator.control.beyond import Beyond
from tuningjob_operator.control.loops import STALE_RESYNCS, Resync
from tuningjob_operator.control.queue import WorkQueue
from tuningjob_operator.objects import Key

logger = logging.getLogger(__name__)

# kopf's name for this process among its peers, of which it has none. Without one it asks for the user's name and its host's,
# and a container's numeric user has no name. The type is a NewType that kopf does not export.
IDENTITY: Final[Any] = names.APP
# A pod gets 30 seconds between SIGTERM and SIGKILL; kopf would take up to 600.
_EXIT_SECONDS: Final = 20


class _NoDiffs(kopf.DiffBaseStorage):
    """No diffs: only kopf's other kinds of handlers need what an object was before, which would cost a fifth of our CPU."""

    def build(self, **_: Any) -> Any:  # noqa: ANN401  kopf's kwargs, and its class for the essence of a body
        return {}

    def fetch(self, **_: Any) -> None:  # noqa: ANN401
        """Return None, because nothing was kept."""

    def store(self, **_: Any) -> None:  # noqa: ANN401
        """Keep nothing."""


class NoMemories(inventory.ResourceMemories):
    """kopf's memory of each object, for kinds of handlers that this operator does not have: nothing is remembered."""

    async def recall(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  kopf's types are in its private modules
        """Return a new memory, which is not kept."""
        return await super().recall(*args, **kwargs | {"ephemeral": True})


def make_settings() -> kopf.OperatorSettings:
    """The settings of kopf. From this call on it reads objects with our bounds."""
    kopf_reading.install()
    settings = kopf.OperatorSettings()
    # neither namespaces nor CRDs are watched: that would need rights, and a 403 on them delays the start by a minute
    settings.scanning.disabled = True
    # replicas agree by a Lease (lease.py): kopf's peering is gossip, and two of equal priority pause each other
    settings.peering.standalone = True
    settings.posting.enabled = False
    # how long a kopf worker holds its object's last event
    settings.queueing.idle_timeout = 0.5
    settings.watching.chunk_size = 100
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.process.ultimate_exiting_timeout = _EXIT_SECONDS
    settings.watching.label_selectors["batch", "v1", "jobs"] = names.MANAGED_SELECTOR
    # watches have frozen silently: one that is silent for longer than the interval of the server's bookmarks is dead
    settings.watching.inactivity_timeout = 70
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 310
    settings.watching.connect_timeout = 30
    settings.networking.request_timeout = REQUEST_SECONDS
    return settings


def make_registry(*, cache: Cache, queue: WorkQueue[Key], resync: Resync, beyond: Beyond) -> kopf.OperatorRegistry:
    """The handlers, in a registry of our own: nothing is registered by an import."""
    registry = kopf.OperatorRegistry()

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def _on_tuningjob(event: kopf.RawEvent, **_: Any) -> None:  # noqa: ANN401  kopf's kwargs
        body = _plain(event)
        if event["type"] == "DELETED":
            queue.add(cache.remove_tuningjob(body))
        elif not cache.tuningjobs.knows(body):  # a known version is our own status, which tells us nothing new
            queue.add(cache.put_tuningjob(body))
            beyond.notice(body)

    @kopf.on.event("batch", "v1", "jobs", registry=registry)
    async def _on_job(event: kopf.RawEvent, **_: Any) -> None:  # noqa: ANN401  kopf's kwargs
        body = _plain(event)
        if event["type"] == "DELETED":
            cache.jobs.remove(body)
        else:
            cache.put_job(body)
        metadata = body["metadata"]
        queue.add(Key(metadata["namespace"], metadata.get("labels", {}).get(names.LABEL_NAME, metadata["name"])))

    # `/healthz` alone says only that kopf's HTTP task runs; a raise makes it a 500
    @kopf.on.probe(registry=registry, id="resync", errors=kopf.ErrorsMode.PERMANENT)
    async def _is_fresh(**_: Any) -> float:  # noqa: ANN401  kopf's kwargs
        age = resync.age_seconds
        if age > STALE_RESYNCS * resync.seconds:
            raise kopf.PermanentError(f"the last resync was {age:.0f} seconds ago")
        return age

    kopf.on.login(registry=registry)(login)
    return registry


def _plain(event: kopf.RawEvent) -> dict[str, Any]:
    return dict(event["object"])
