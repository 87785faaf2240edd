"""The surroundings of a search, asked for seldom: quotas and limit ranges of its namespace, the nodes of the cluster."""

import asyncio
from collections.abc import Callable
from typing import Final

from tuningjob_operator.cluster.cache import Store
from tuningjob_operator.cluster.contract import ClusterApi
from tuningjob_operator.decide.decision import Surroundings
from tuningjob_operator.objects import Body, living_pods, uid_of

# A thousand TuningJobs that begin together ask once.
QUOTA_SECONDS: Final = 10.0
# A namespace without a quota is not expected to get one; nodes and limit ranges change seldom.
STEADY_SECONDS: Final = 60.0


class SurroundingsCache:
    """Answers, each kept for as long as the constants above say."""

    def __init__(self, cluster: ClusterApi, jobs: Store, *, clock: Callable[[], float], with_nodes: bool) -> None:
        self._cluster = cluster
        self._jobs = jobs
        self._clock = clock
        self._with_nodes = with_nodes
        self._of: dict[str, tuple[float, Surroundings]] = {}  # until when they are good
        self._nodes: tuple[float, tuple[Body, ...]] | None = None
        self._asking = asyncio.Lock()

    async def of(self, namespace: str) -> Surroundings:
        """The surroundings in a namespace. Raises ApiError."""
        async with self._asking:
            now = self._clock()
            self._of = {name: known for name, known in self._of.items() if now < known[0]}
            if namespace not in self._of:
                found = Surroundings(
                    # before the quotas are read: a pod that comes in between then counts as another search's, which is safe
                    running=self._running(namespace),
                    quotas=await self._cluster.list_resource_quotas(namespace),
                    limit_ranges=await self._cluster.list_limit_ranges(namespace),
                    nodes=await self._known_nodes(now),
                )
                self._of[namespace] = (now + (QUOTA_SECONDS if found.quotas else STEADY_SECONDS), found)
            return self._of[namespace][1]

    def forget(self, namespace: str) -> None:
        """Forget what was known of a namespace, because it has proved wrong."""
        self._of.pop(namespace, None)

    def _running(self, namespace: str) -> dict[str, int]:
        jobs = [self._jobs.get(key) for key in self._jobs.keys() if key.namespace == namespace]  # noqa: SIM118  no dict
        return {uid_of(job): living_pods(job) for job in jobs if job is not None}

    async def _known_nodes(self, now: float) -> tuple[Body, ...] | None:
        if not self._with_nodes:
            return None
        if self._nodes is None or now - self._nodes[0] >= STEADY_SECONDS:
            self._nodes = (now, tuple(_slim(node) for node in await self._cluster.list_nodes()))
        return self._nodes[1]


def _slim(node: Body) -> Body:
    """A node without its list of images, which is most of its bytes and is not read here."""
    metadata = {name: node["metadata"].get(name) for name in ("name", "labels")}
    status = {"allocatable": (node.get("status") or {}).get("allocatable", {})}
    return {"metadata": metadata, "spec": {"taints": (node.get("spec") or {}).get("taints")}, "status": status}
