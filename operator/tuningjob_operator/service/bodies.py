"""Bodies, from bytes to the journal's records: they are checked for their size and depth before they are parsed.

pydantic's parser makes a tree of the whole text before it looks at any part (8 MiB of ``{"":0},`` become a tree of 700 MiB), and
no other thread runs meanwhile. So a body is scanned first, bracket by bracket, for its depth and the number of its values; and
the list that makes a long body long is parsed a piece at a time.
"""

import dataclasses
import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, Generic, NamedTuple, TypeVar

from fastapi import HTTPException, Request
from pydantic import FailFast, TypeAdapter, ValidationError

from tuningjob.aliases import Anything
from tuningjob_operator.service.room import Threads
from tuningjob_operator.service.wire import problem_sentence

R = TypeVar("R")

MAX_DEPTH: Final = 64
# The largest report that is ever sent has 1,000 cells with two dozen metrics each: some 120,000 values in 3,000 objects.
MAX_VALUES: Final = 400_000
MAX_CONTAINERS: Final = 60_000
# The most that is parsed at once, in a few milliseconds, or 50 at the worst.
MAX_VALUES_AT_ONCE: Final = 64_000
MAX_CONTAINERS_AT_ONCE: Final = 22_000
_PIECE_BYTES: Final = 64 * 2**10
# The largest cell, with every character escaped, has less.
_MAX_ITEM_BYTES: Final = 128 * 2**10
_MAX_ITEM_CONTAINERS: Final = 100
# A body of up to so many bytes is parsed in the event loop, because a thread would take longer.
_SMALL: Final = 8 * 2**10
# N and I begin NaN and Infinity, which are no JSON: such numbers are sent as strings. Possessive, so that nothing is looked at
# twice; ``reading`` says what Python before 3.11.5 makes of possessive groups.
_TEXT: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_PLAIN: Final = rb'[^"\[\]{}NI]*+'
_TO_MARK: Final = re.compile(rb"%b(?:%b%b){0,200}" % (_PLAIN, _TEXT, _PLAIN), re.DOTALL)
# A string is one token, even one that does not end.
_COMMAS: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|,', re.DOTALL)
_NAME: Final = re.compile(rb'"([a-z_]{1,32})"[ \t\r\n]{0,8}:[ \t\r\n]{0,8}\Z')
_NAME_BYTES: Final = 64
_SEPARATOR: Final = re.compile(rb"[ \t\r\n]*,[ \t\r\n]*")
_OPENING, _CLOSING, _COMMA, _QUOTE, _LIST = b"[{", b"]}", b","[0], b'"'[0], b"["[0]
_OF_ITEMS: Final = 2  # lists and objects that are open where an item of the body's own list begins


class BodyRefused(HTTPException):
    """A body is not what it must be (422)."""

    def __init__(self, sentence: str) -> None:
        super().__init__(422, sentence)


class ListItem(NamedTuple):
    """Where an item is, and how many lists and objects it is made of."""

    start: int
    end: int
    containers: int


class Seen(NamedTuple):
    """How many lists and objects a body has, and where the items of its own list are, from ``begin`` to ``end``."""

    containers: int = 0
    begin: int = 0
    end: int = 0
    items: tuple["ListItem", ...] = ()


def look_through(body: bytes, name: str = "") -> Seen:
    """Scan a body for its list ``name``. Raises BodyRefused if it is too deep, or holds too much, to be parsed."""
    seen = _Looking(body, name)
    at = 0
    while (match := _TO_MARK.match(body, at)) is not None:
        before, at = at, match.end()
        if at == len(body) or (at == before and body[at] == _QUOTE):
            break  # the end, or a text without one
        if body[at] != _QUOTE:  # so many texts at a time
            seen.take(body[at], at)
            at += 1
    if holds_more(body, MAX_VALUES):
        raise BodyRefused(f"body: must hold at most {MAX_VALUES:,} values, but got more.")
    return Seen(seen.containers, seen.begin, seen.end, tuple(seen.items))


class _Looking:
    """The state of a scan that goes bracket by bracket."""

    def __init__(self, body: bytes, name: str) -> None:
        self.containers = self.begin = self.end = 0
        self.items: list[ListItem] = []
        self._body = body
        self._name = name
        self._depth = self._item = self._before = 0

    def take(self, mark: int, at: int) -> None:
        """Take in the bracket at this place, or the first byte of text that is no JSON."""
        if mark in _OPENING:
            self._open(mark, at)
        elif mark in _CLOSING:
            self._close(at)
        else:
            raise BodyRefused('body: must be JSON, which has no NaN and no Infinity: send them as strings, "NaN".')

    def _open(self, mark: int, at: int) -> None:
        if self._depth == 1 and mark == _LIST and self._name and _name_before(self._body, at) == self._name:
            if self.begin:
                raise BodyRefused(f"body.{self._name}: must be there once, but got it again.")
            self.begin = at + 1
        elif self._depth == _OF_ITEMS and self.begin and not self.end:
            self._item, self._before = at, self.containers
        self._depth, self.containers = self._depth + 1, self.containers + 1
        if self._depth > MAX_DEPTH:
            raise BodyRefused(f"body: must be JSON of at most {MAX_DEPTH} levels, but got more.")
        if self.containers > MAX_CONTAINERS:
            raise BodyRefused(f"body: must hold at most {MAX_CONTAINERS:,} lists and objects, but got more.")

    def _close(self, at: int) -> None:
        self._depth -= 1
        if self.begin and not self.end:
            if self._depth == _OF_ITEMS:
                self.items.append(ListItem(self._item, at + 1, self.containers - self._before))
            elif self._depth < _OF_ITEMS:
                self.end = at


def holds_more(body: bytes, values: int) -> bool:
    """Whether a body has more than ``values`` values."""
    if body.count(b",") <= values:
        return False
    commas = 0
    for match in _COMMAS.finditer(body):
        commas += body[match.start()] == _COMMA
        if commas > values:
            return True
    return False


def _name_before(body: bytes, at: int) -> str:
    found = _NAME.search(body, max(0, at - _NAME_BYTES), at)
    return "" if found is None else found.group(1).decode()


class Listed(NamedTuple):
    """The list that makes a body long: its field's name, the type of its items, and how many it may have."""

    name: str
    kind: Any
    most: int


class Takes(Generic[R]):
    """A dependency of a route: the body of a request, as the record that it must be.

    ``openapi`` describes it for the schema (``openapi_extra`` of the route).
    """

    def __init__(self, kind: Anything, listed: Listed | None = None) -> None:
        self._adapter: TypeAdapter[R] = TypeAdapter(kind)
        self._listed = listed
        self._items: TypeAdapter[list[Any]] | None = None
        if listed is not None:
            items: Any = list[listed.kind]  # type: ignore[name-defined]
            self._items = TypeAdapter(Annotated[items, FailFast()])
        schema = self._adapter.json_schema(ref_template="#/components/schemas/{model}")
        self.openapi: dict[str, Any] = {
            "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}
        }

    async def __call__(self, request: Request) -> R:
        """Parse the body of a request, if it is long in its turn. Raises BodyRefused and NoTurn."""
        body = await request.body()
        if len(body) <= _SMALL:
            return self.parsed(body)
        parsing: Threads = request.app.state.parsing
        return await parsing.run(self.parsed, body)

    def parsed(self, body: bytes) -> R:
        """The record in ``body``. Raises BodyRefused."""
        listed = self._listed
        seen = look_through(body, "" if listed is None else listed.name)
        if len(body) <= _PIECE_BYTES or listed is None or self._items is None or not seen.items or not seen.end:
            return self._at_once(body, seen)
        if len(seen.items) > listed.most:
            raise BodyRefused(
                f"body.{listed.name}: must have at most {listed.most} items, but got {len(seen.items):,}."
            )
        envelope = body[: seen.begin] + body[seen.end :]
        record = self._at_once(envelope, look_through(envelope))
        found: list[Any] = []
        for piece in _pieces(body, seen, listed.name):
            found += self._validated(self._items, piece, listed.name, first=len(found))
        kept = getattr(record, listed.name)
        # every record is a frozen dataclass
        return dataclasses.replace(record, **{listed.name: type(kept)(found)})  # type: ignore[type-var]

    def _at_once(self, body: bytes, seen: Seen) -> R:
        if seen.containers > MAX_CONTAINERS_AT_ONCE or holds_more(body, MAX_VALUES_AT_ONCE):
            raise BodyRefused(
                f"body: must hold at most {MAX_VALUES_AT_ONCE:,} values in {MAX_CONTAINERS_AT_ONCE:,} lists and objects beside "
                "its own list of objects, but got more."
            )
        record: R = self._validated(self._adapter, body)
        return record

    def _validated(
        self, adapter: TypeAdapter[Anything], body: bytes, *within: str, first: int | None = None
    ) -> Anything:
        try:
            return adapter.validate_json(body)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_context=False)[0]
            where = problem["loc"]
            if first is not None and where and isinstance(where[0], int):
                where = (where[0] + first, *where[1:])
            raise BodyRefused(problem_sentence({**problem, "loc": where}, "body", *within)) from None
        except (ValueError, RecursionError) as error:  # an integer of more digits than Python reads
            raise BodyRefused(f"body: must be JSON that can be read, but got: {str(error)[:80]}.") from None


def _pieces(body: bytes, seen: Seen, name: str) -> Iterator[bytes]:
    """Yield the items, as lists of some 64 KiB."""
    begin = seen.begin
    for number, (start, end, containers) in enumerate(seen.items):
        if end - start > _MAX_ITEM_BYTES:
            raise BodyRefused(f"body.{name}.{number}: must be of at most {_MAX_ITEM_BYTES:,} bytes, but got more.")
        if containers > _MAX_ITEM_CONTAINERS:
            raise BodyRefused(
                f"body.{name}.{number}: must hold at most {_MAX_ITEM_CONTAINERS} lists and objects, but got {containers:,}."
            )
        is_last = number + 1 == len(seen.items)
        until = seen.end if is_last else seen.items[number + 1].start
        if not is_last and end - begin < _PIECE_BYTES:
            continue
        rest = body[end:until]
        if rest.strip() if is_last else not _SEPARATOR.fullmatch(rest):
            raise BodyRefused(f"body.{name}: must be a list of objects, but got something else in it.")
        yield b"[%b]" % body[begin:end]
        begin = until


def hoisted(schema: dict[str, Any]) -> dict[str, Any]:
    """OpenAPI's schema, with what ``Takes.openapi`` wrote inline moved to its components."""
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
