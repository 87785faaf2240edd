"""kopf's two ways to read objects, with bounds: kopf itself decodes pages and events of any size in the event loop.

One object of a tenant could end every operator. kopf has no place to plug a decoder in, so two functions of the release that
``pyproject.toml`` pins are replaced: the one that splits a watch into lines, and the one that lists. A test checks them at a real
API server, with objects that ended operators before.
"""

import logging
from collections.abc import AsyncIterator, Collection
from typing import Any, Final

import aiohttp
from kopf._cogs.clients import api, fetching
from pydantic_core import from_json

from tuningjob_operator.cluster.answers import read_slim, split, typed
from tuningjob_operator.cluster.aside import LARGE_BYTES, READING
from tuningjob_operator.objects import Body
from tuningjob_operator.reading import ListSplitter, slim_event

logger = logging.getLogger(__name__)

_lines: Final = api.iter_jsonlines


def install() -> None:
    """Replace kopf's two functions, for every watch of this process from now on."""
    api.iter_jsonlines = _slim_lines
    # the types of its arguments are of modules that kopf keeps to itself
    fetching.fetch_objs = _slim_objects  # type: ignore[assignment]


async def _slim_lines(content: aiohttp.StreamReader, chunk_size: int = 64 * 2**10) -> AsyncIterator[bytes]:
    """The events of a watch, as lines that kopf may decode."""
    async for line in _lines(content, chunk_size):
        try:
            yield await READING.run(slim_event, line) if len(line) > LARGE_BYTES else slim_event(line)
        except (ValueError, KeyError) as error:
            # the next resync sees the object, if it is one
            logger.warning("an event was not read", extra={"error": str(error), "bytes": len(line)})


async def _slim_objects(
    *,
    settings: Any,  # noqa: ANN401  kopf's types are in its private modules
    resource: Any,  # noqa: ANN401
    namespace: str | None,
    logger: Any,  # noqa: ANN401
) -> AsyncIterator[tuple[Collection[Body], str]]:
    """All objects of a resource, page by page: what ``kopf._cogs.clients.fetching.fetch_objs`` promises."""
    labels = ",".join(sorted(set(settings.watching.label_selectors.collect(resource))))
    query = {"limit": str(settings.watching.chunk_size), **({"labelSelector": labels} if labels else {})}
    while True:
        url = resource.get_url(namespace=namespace, params=query)
        splitter = ListSplitter()
        response = await api.request(method="get", url=url, settings=settings, logger=logger)
        async with response:
            kind = str(resource.kind)
            items = [
                typed(await read_slim(text, kind=kind), resource.plural, kind)
                async for text in split(splitter, response.content)
            ]
        metadata = from_json(splitter.rest).get("metadata", {})
        yield items, str(metadata.get("resourceVersion", ""))
        if not metadata.get("continue"):
            return
        query["continue"] = metadata["continue"]
