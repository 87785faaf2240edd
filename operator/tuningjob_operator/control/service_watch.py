"""A check, every few seconds, whether the results service takes results in: the searches that wait for it get a condition.

It runs in the same pod, so its probe is asked, at its port on this host.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import aiohttp

logger = logging.getLogger(__name__)

ASK_SECONDS: Final = 5.0
# A restart takes a few seconds, which does no worker harm and is not worth a report.
PATIENCE_SECONDS: Final = 15.0
_TIMEOUT: Final = aiohttp.ClientTimeout(total=5.0)


class ServiceWatch:
    """``trouble`` is why nothing is taken in, once that has lasted, else None. ``on_change`` is called when it changes."""

    def __init__(self, url: str, *, clock: Callable[[], float], on_change: Callable[[], None] = lambda: None) -> None:
        self._url = url
        self._clock = clock
        self._on_change = on_change
        self._since: float | None = None
        self.trouble: str | None = None

    def note(self, problem: str | None) -> None:
        """Take one answer in: the fault that it tells of, or None."""
        if problem is None:
            self._since, found = None, None
        else:
            now = self._clock()
            self._since = now if self._since is None else self._since
            found = self.trouble
            if found is None and now - self._since >= PATIENCE_SECONDS:
                found = f"The results service does not take results in: {problem}."
        if found != self.trouble:
            self.trouble = found
            logger.warning("the results service is back" if found is None else "the results service is away")
            self._on_change()

    async def run(self) -> None:
        """Ask for ever."""
        # its certificate is for its Service's name; on this host no other process can answer
        async with aiohttp.ClientSession(timeout=_TIMEOUT, connector=aiohttp.TCPConnector(ssl=False)) as session:
            while True:
                self.note(await self._problem(session))
                await asyncio.sleep(ASK_SECONDS)

    async def _problem(self, session: aiohttp.ClientSession) -> str | None:
        try:
            async with session.get(self._url) as response:
                if response.ok:
                    return None
                return f"it answers {response.status} ({(await response.text())[:500].strip()})"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return f"it does not answer ({type(error).__name__})"
