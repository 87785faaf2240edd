"""TuningJobs that the operator has no room for in memory: each gets one condition that says so, and is deleted in time.

They are taken slowly, one at a time, beside the main queue, so that any number of them delays no other TuningJob.
"""

import asyncio
import logging
import operator
from collections.abc import Awaitable, Callable
from typing import Final

from tuningjob_operator import names
from tuningjob_operator.cluster.cache import Cache
from tuningjob_operator.cluster.contract import ApiError, ClusterApi, NotFound
from tuningjob_operator.control.queue import WorkQueue
from tuningjob_operator.decide import status as st
from tuningjob_operator.decide.ends import seconds_to_live
from tuningjob_operator.logs import current_tuningjob
from tuningjob_operator.objects import Body, Clock, Key, key_of
from tuningjob_operator.settings import Settings

logger = logging.getLogger(__name__)

# The pause between two of them, because an API server has others to serve.
PACE_SECONDS: Final = 0.2
# How many may wait for their turn; the next listing shows the others again.
_MOST_KEYS: Final = 10_000


class Beyond:
    """Calls ``look`` (a pass over a TuningJob that is not in the cache) for each that ``notice`` took; ``run`` is the task."""

    def __init__(
        self,
        *,
        cluster: ClusterApi,
        cache: Cache,
        settings: Settings,
        clock: Clock,
        look: Callable[[Key, Body], Awaitable[object]],
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._settings = settings
        self._clock = clock
        self._look = look
        # a turn for each namespace, as in the queue of the others
        self._queue: WorkQueue[Key] = WorkQueue(clock=clock.monotonic, lane=operator.attrgetter("namespace"))

    def notice(self, body: Body) -> bool:
        """Whether there is no room for the TuningJob of this event or listing. If so, it is queued to get its condition."""
        key = key_of(body)
        if self._cache.tuningjobs.uid(key) is not None:
            return False
        if len(self._queue) < _MOST_KEYS and self._has_work(body):
            self._queue.add(key)
        return True

    def _has_work(self, body: Body) -> bool:
        status = st.read_status(body)
        if st.has_ended(status):
            left = seconds_to_live(body, status, self._settings, self._clock.now())
            return left is not None and left <= 0
        return not is_told(body)

    async def step(self) -> bool:
        """Look at the next TuningJob, if one waits. Raises nothing: the next listing shows a failed one again."""
        key = self._queue.take_nowait()
        if key is None:
            return False
        await self._do(key)
        return True

    async def _do(self, key: Key) -> None:
        name = current_tuningjob.set(str(key))
        try:
            found = await self._cluster.get_tuningjob(key.namespace, key.name, whole=False)
            if self._cache.tuningjobs.uid(key) is None and self._has_work(found):
                await self._look(key, found)
        except NotFound:
            self._cache.is_gone(key)
        except ApiError as error:
            logger.warning("one beyond the limit was not told so", extra={"error": str(error)})
        except Exception:  # a bug, or a database that is away: the others go on
            logger.exception("one beyond the limit was not told so")
        finally:
            self._queue.done(key)
            current_tuningjob.reset(name)

    async def run(self) -> None:
        """Look at one TuningJob after the other, for ever."""
        while True:
            await self._do(await self._queue.take())
            await asyncio.sleep(PACE_SECONDS)


def is_told(body: Body) -> bool:
    """Whether its status says that there is no room for it."""
    conditions: list[Body] = (body.get("status") or {}).get("conditions") or []
    return any(each.get("reason") == names.TOO_MANY for each in conditions if each.get("type") == names.ADMITTED)
