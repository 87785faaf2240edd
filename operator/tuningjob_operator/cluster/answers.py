"""Answers of the API server, read as they come in and cut to their bounds before they are decoded."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, overload

import aiohttp
from pydantic_core import from_json

from tuningjob_operator.cluster.aside import LARGE_BYTES, READING
from tuningjob_operator.cluster.paths import api_of
from tuningjob_operator.objects import Body
from tuningjob_operator.reading import KEPT_SPEC_BYTES, ListSplitter, slim

# How much of the answer to a list is looked through before the loop has its turn.
_CHUNK_BYTES: Final = 64 * 2**10


def page_reader(kind: str, items: list[bytes]) -> Callable[[aiohttp.ClientResponse], Awaitable[Body]]:
    """A function that reads a page: it appends the items, compressed, to ``items``, and returns the rest."""

    async def read(response: aiohttp.ClientResponse) -> Body:
        splitter = ListSplitter()
        items.extend([zlib.compress(await _cut(text, kind), 1) async for text in split(splitter, response.content)])
        rest: Body = from_json(splitter.rest)
        return rest

    return read


async def split(splitter: ListSplitter, content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield the items of a list as they come in, with one in memory at a time."""
    async for chunk in content.iter_chunked(_CHUNK_BYTES):
        for item in splitter.feed(chunk):
            yield item
        await asyncio.sleep(0)


async def read_slim(text: bytes, *, kind: str = "", spec_bytes: int = KEPT_SPEC_BYTES) -> Body:
    """An object, cut to its bounds and then decoded. Raises ValueError if the text is no object."""
    body: Body = from_json(await _cut(text, kind, spec_bytes))
    return body


async def _cut(text: bytes, kind: str, spec_bytes: int = KEPT_SPEC_BYTES) -> bytes:
    if len(text) <= LARGE_BYTES:
        return slim(text, kind=kind, spec_bytes=spec_bytes)
    return await READING.run(slim, text, kind=kind, spec_bytes=spec_bytes)


def typed(item: Body, resource: str, kind: str) -> Body:
    """An item of a list, with the two fields that items of built-in kinds lack."""
    return {"apiVersion": api_of(resource).removeprefix("/apis/").removeprefix("/api/"), "kind": kind, **item}


class PackedItems(Sequence[Body]):
    """Items of a list, decoded one by one when they are looked at, because thousands at once would take all of the memory."""

    def __init__(self, items: Sequence[bytes], resource: str, kind: str) -> None:
        self._items = items
        self._resource = resource
        self._kind = kind

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> Body: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Body]: ...

    def __getitem__(self, index: int | slice) -> Body | Sequence[Body]:
        if isinstance(index, slice):
            return PackedItems(self._items[index], self._resource, self._kind)
        return typed(from_json(zlib.decompress(self._items[index])), self._resource, self._kind)
