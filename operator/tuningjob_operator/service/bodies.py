"""Bodies, from bytes to the journal's records: what they may hold is known before anything is made of them.

pydantic's parser makes a tree of all of a text before it looks at any part: 8 MiB of ``{"":0},`` are 700 MiB of tree. So a body
is looked through first, token by token, for how deep it is and how much there is in it.
"""

import re
from typing import Any, Final, Generic, TypeVar

from fastapi import HTTPException, Request
from pydantic import TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool

from tuningjob.aliases import Anything
from tuningjob_operator.service.wire import sentence_of

R = TypeVar("R")

MAX_DEPTH: Final = 64
# A report of 1,000 cells with two dozen metrics each is the most that is ever sent: some 120,000 values in 3,000 objects.
MAX_VALUES: Final = 400_000
MAX_CONTAINERS: Final = 60_000
# What is parsed at once, in the event loop; a thread would take longer.
_SMALL: Final = 8 * 2**10
# A string is one token, also one that does not end: nothing is looked at twice. N and I begin NaN and Infinity, which are no
# JSON: such numbers travel as strings.
_TOKEN: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{},NI]', re.DOTALL)
_OPENING, _CLOSING, _COMMA, _NO_NUMBER = b"[{", b"]}", b","[0], b"NI"


class BodyRefused(HTTPException):
    """A body that is not what it must be: 422."""

    def __init__(self, sentence: str) -> None:
        super().__init__(422, sentence)


def look_through(body: bytes) -> None:
    """Raises BodyRefused for a body that is too deep, or holds too much, to be parsed."""
    depth = containers = values = 0
    for match in _TOKEN.finditer(body):
        first = body[match.start()]
        if first in _OPENING:
            depth += 1
            containers += 1
            if depth > MAX_DEPTH:
                raise BodyRefused(f"body: must be JSON of at most {MAX_DEPTH} levels, but got more.")
            if containers > MAX_CONTAINERS:
                raise BodyRefused(f"body: must hold at most {MAX_CONTAINERS:,} lists and objects, but got more.")
        elif first in _CLOSING:
            depth -= 1
        elif first == _COMMA:
            values += 1
            if values > MAX_VALUES:
                raise BodyRefused(f"body: must hold at most {MAX_VALUES:,} values, but got more.")
        elif first in _NO_NUMBER:
            raise BodyRefused('body: must be JSON, which has no NaN and no Infinity: send them as strings, "NaN".')


class Takes(Generic[R]):
    """A dependency: the body of a request, as the record that it must be.

    ``openapi`` is what the schema is told of it (``openapi_extra`` of the route).
    """

    def __init__(self, kind: Anything) -> None:
        self._adapter: TypeAdapter[R] = TypeAdapter(kind)
        schema = self._adapter.json_schema(ref_template="#/components/schemas/{model}")
        self.openapi: dict[str, Any] = {
            "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}
        }

    async def __call__(self, request: Request) -> R:
        """Raises BodyRefused."""
        body = await request.body()
        if len(body) <= _SMALL:
            return self.parsed(body)
        return await run_in_threadpool(self.parsed, body)

    def parsed(self, body: bytes) -> R:
        """Raises BodyRefused."""
        look_through(body)
        try:
            return self._adapter.validate_json(body)
        except ValidationError as error:
            raise BodyRefused(sentence_of(error.errors(include_url=False, include_context=False)[0], "body")) from None
        except (ValueError, RecursionError) as error:  # an integer of more digits than Python reads
            raise BodyRefused(f"body: must be JSON that can be read, but got: {str(error)[:80]}.") from None


def hoisted(schema: dict[str, Any]) -> dict[str, Any]:
    """OpenAPI's schema with what ``Takes.openapi`` has put inline among its components."""
    components = schema.setdefault("components", {}).setdefault("schemas", {})
    for methods in schema["paths"].values():
        for operation in methods.values():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if content is not None and "$ref" not in content["schema"]:
                inline = dict(content["schema"])
                components.update(inline.pop("$defs", {}))
                if "title" in inline:
                    components[inline["title"]] = inline
                    content["schema"] = {"$ref": f"#/components/schemas/{inline['title']}"}
    return schema
