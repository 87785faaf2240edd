"""Objects cut out of an API server's text before anything of them is decoded, so that no object costs more than its bound.

A tenant may write an object of 1.5 MiB, and nest it ten thousand deep: decoded, it is thirty times as large, or ends the process.
So brackets are counted here, without recursion, and what is too large or too deep is left out. What remains of an object
(``slim``) is shallow JSON of at most some 100 KiB, and says what was left out.

Pure: bytes in, bytes out.
"""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from tuningjob.errors import Problem
from tuningjob.manifest.bounds import MAX_DEPTH, MAX_SPEC_BYTES
from tuningjob.manifest.live import MUTABLE_FIELDS
from tuningjob.manifest.models import TuningJobSpec
from tuningjob.manifest.wellknown import KIND
from tuningjob_operator import names

# A larger spec stays out of the cache, because there may be any number of TuningJobs; it is fetched when it is looked at.
KEPT_SPEC_BYTES: Final = 8 * 2**10
# The bound of each field in metadata, spec and status of any object. Ours are far smaller.
_MAX_FIELD_BYTES: Final = 128 * 2**10
# The bound of the creator's name: without the chart's policies the author of a TuningJob can write any.
_MAX_CREATOR_BYTES: Final = 2 * 2**10
# Where ``bounds`` ends with the path, and where nothing is decoded any more.
_MAX_FIELD_DEPTH: Final = MAX_DEPTH + 36
# There may be thousands of pods, and their specs are not read here.
_POD: Final = "Pod"
_OF_A_PODS_SPEC: Final = frozenset({b"nodeName"})
_LIVE: Final = frozenset(str(TuningJobSpec.model_fields[name].alias).encode() for name in MUTABLE_FIELDS)
_MAX_LIVE_BYTES: Final = 64
_METADATA: Final = frozenset(
    {b"name", b"namespace", b"uid", b"resourceVersion", b"generation", b"creationTimestamp", b"deletionTimestamp"}
)
# What a slim TuningJob says of a spec that was left out: ``{"bytes": …, "depth": …}``. No object of an API server has this field.
LEFT_OUT: Final = "leftOut"
# How large a spec is that is here, but would be left out of the cache.
SPEC_BYTES: Final = "specBytes"

# Repeated so that little is kept to go back to (a megabyte of escapes takes no memory): possessive, or a bounded number of times.
# A possessive group may end in its middle, and leave the place wrong, in Python before 3.11.5 (python/cpython#106052): here only
# the group of escapes is one, and what must follow it tells.
_TEXT: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
# Neither text nor bracket, and then with texts among it, whose brackets do not count.
_PLAIN: Final = rb'[^"\[\]{}]*+'
_PASSED: Final = rb"%b(?:%b%b){0,200}" % (_PLAIN, _TEXT, _PLAIN)
# A list or a map with none inside, and a run of these: what is passed over is passed over by the regular expression alone.
_FLAT_LIST: Final = rb"\[%b\]" % _PASSED
_FLAT_MAP: Final = rb"\{%b\}" % _PASSED
_RUNS: Final = {
    ord("["): re.compile(rb"(?:%b%b){1,100}" % (_FLAT_LIST, _PLAIN), re.DOTALL),
    ord("{"): re.compile(rb"(?:%b%b){1,100}" % (_FLAT_MAP, _PLAIN), re.DOTALL),
}
_TO_BRACKET: Final = re.compile(_PASSED, re.DOTALL)
# Of a text that comes in chunks, whose end may be in the next: what is flat, texts, and brackets.
_TOKEN: Final = re.compile(rb'(%b|%b)|"[^"\\]*+(?:\\.[^"\\]*+)*+("?)|[\[\]{}]' % (_FLAT_LIST, _FLAT_MAP), re.DOTALL)
_STRING: Final = re.compile(_TEXT, re.DOTALL)
_SCALAR: Final = re.compile(rb"[^\s,\]}]+")
_BLANK: Final = re.compile(rb"[\s,:]*")
_QUOTE: Final = ord('"')
_IN_LIST, _IN_ITEMS, _IN_ITEM = 1, 2, 3  # how many brackets are open there


class JsonField(NamedTuple):
    """One field of an object: its value as text, how deep lists and maps are inside each other there, and fields that it has.

    One level more than there is may be counted.
    """

    text: bytes
    depth: int
    fields: "Members"


Members = dict[bytes, JsonField]
_NONE: Final[Members] = {}


def members(text: bytes, *, inside: Collection[bytes] = ()) -> Members:
    """The fields of the object in ``text``, and the fields of those that are ``inside``. Raises ValueError if it is no object."""
    return _members(text, _after_blanks(text, 0), inside)[0]


def _members(text: bytes, at: int, inside: Collection[bytes] = ()) -> tuple[Members, int]:
    """The fields of the object at this byte, and where it ends: in one walk, because there may be a megabyte of it."""
    if text[at : at + 1] != b"{":
        raise ValueError("must be an object")
    found: Members = {}
    at = _after_blanks(text, at + 1)
    while text[at : at + 1] != b"}":
        key = _STRING.match(text, at)
        if key is None:
            raise ValueError(f"must be the name of a field at byte {at}")
        name, start = key.group()[1:-1], _after_blanks(text, key.end())
        fields = _NONE
        if name in inside and text[start : start + 1] == b"{":
            fields, at = _members(text, start)
            depth = 1 + max((field.depth for field in fields.values()), default=0)
        else:
            at, depth = _end_of_value(text, start)
        found[name] = JsonField(text[start:at], depth, fields)
        at = _after_blanks(text, at)
    return found, at + 1


def _after_blanks(text: bytes, at: int) -> int:
    blank = _BLANK.match(text, at)
    return at if blank is None else blank.end()


def _end_of_value(text: bytes, at: int) -> tuple[int, int]:
    if text[at : at + 1] not in {b"{", b"["}:
        scalar = (_STRING if text[at : at + 1] == b'"' else _SCALAR).match(text, at)
        if scalar is None:
            raise ValueError(f"must be a value at byte {at}")
        return scalar.end(), 0
    depth, deepest, place = 1, 1, at + 1
    while passed := _TO_BRACKET.match(text, place):
        before, place = place, passed.end()
        if text[place : place + 1] == b'"' and place > before:
            continue  # so many texts at a time
        if text[place : place + 1] not in {b"[", b"]", b"{", b"}"}:
            break
        run = _RUNS[text[place]].match(text, place) if text[place] in _RUNS else None
        if run is not None:
            place = run.end()
            continue
        depth += 1 if text[place] in _RUNS else -1
        deepest, place = max(deepest, depth), place + 1
        if depth == 0:
            return place, deepest + 1
    raise ValueError(f"must be a whole value at byte {at}")


class ListSplitter:
    """Takes the text of a list as it comes, and hands out its items one by one, as text. ``rest`` is the list without them."""

    def __init__(self) -> None:
        self._text = bytearray()
        self._at = 0  # brackets are counted up to here
        self._done = 0  # text up to here is not needed any more
        self._depth = 0
        self._item: int | None = None  # where the item that is not whole yet begins
        self._last = b""  # the last string directly in the list: the name of the field that is being read
        self._is_in_items = False
        self.rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The items that are whole with this chunk."""
        self._text += chunk
        found: list[bytes] = []
        for token in _TOKEN.finditer(self._text, self._at):
            self._at = token.start()
            first = self._text[self._at]
            if token.group(1) is not None:
                if self._depth == _IN_ITEMS and self._is_in_items:
                    found.append(token.group())
                    self._done = token.end()
            elif first == _QUOTE:
                if not token.group(2):
                    break  # its end is to come
                if self._depth == _IN_LIST:
                    self._last = token.group()
            elif first in b"[{":
                self._open()
            elif (item := self._close()) is not None:
                found.append(item)
            self._at = token.end()
        else:
            self._at = len(self._text)
        self._drop()
        return found

    def _open(self) -> None:
        self._depth += 1
        if self._depth == _IN_ITEMS and self._last == b'"items"':
            self._is_in_items = True
            self.rest += self._text[self._done : self._at + 1]
            self._done = self._at + 1
        elif self._depth == _IN_ITEM and self._is_in_items:
            self._item = self._at

    def _close(self) -> bytes | None:
        """The item that ends here, if one does."""
        self._depth -= 1
        if self._depth == _IN_ITEMS and self._is_in_items:
            item, self._item, self._done = bytes(self._text[self._item : self._at + 1]), None, self._at + 1
            return item
        if self._depth == _IN_LIST and self._is_in_items:
            self._is_in_items, self._done = False, self._at
        return None

    def _drop(self) -> None:
        if not self._is_in_items:
            self.rest += self._text[self._done : self._at]
        if self._item is None:
            done = self._at
        else:
            done, self._item = self._item, 0
        del self._text[:done]
        self._at, self._done = self._at - done, 0


def slim_event(line: bytes) -> bytes:
    """An event of a watch with its object slim. Raises ValueError if it is no event."""
    # the object comes last, so it need not be walked through to find its end
    head, found, rest = line.partition(b'"object":')
    if not found:
        raise ValueError("must be an event")
    return b'%b"object":%b}' % (head, slim(rest))


def slim(text: bytes, *, kind: str = "", spec_bytes: int = KEPT_SPEC_BYTES) -> bytes:
    """An object without its fields that are above their bounds; a TuningJob has its spec if that has at most ``spec_bytes``.

    ``kind`` is for an item of a list, which does not say it.
    """
    found = members(text, inside=(b"metadata", b"spec", b"status"))
    said = found.get(b"kind")
    if (kind if said is None else said.text.decode(errors="replace").strip('"')) == KIND:
        return _slim_tuningjob(found, spec_bytes)
    if (kind if said is None else said.text.decode(errors="replace").strip('"')) == _POD:
        found = {**found, b"spec": _only(found.get(b"spec"), _OF_A_PODS_SPEC)}
    return _object({name: _bounded(member) for name, member in found.items() if member.fields or _is_bounded(member)})


def _only(member: JsonField | None, names_: Collection[bytes]) -> JsonField:
    fields = {} if member is None else {name: each for name, each in member.fields.items() if name in names_}
    return JsonField(b"{}", 1, fields)


def _slim_tuningjob(found: Members, spec_bytes: int) -> bytes:
    parts: dict[bytes, bytes] = {name: found[name].text for name in (b"apiVersion", b"kind") if name in found}
    if b"metadata" in found:
        parts[b"metadata"] = _tuningjob_metadata(found[b"metadata"].fields)
    spec = found.get(b"spec")
    if spec is not None and len(spec.text) <= spec_bytes and spec.depth <= _MAX_FIELD_DEPTH:
        parts[b"spec"] = spec.text
        if len(spec.text) > KEPT_SPEC_BYTES:
            parts[SPEC_BYTES.encode()] = b"%d" % len(spec.text)
    elif spec is not None:
        live = {name: each.text for name, each in spec.fields.items() if name in _LIVE}
        parts[b"spec"] = _object({name: value for name, value in live.items() if len(value) <= _MAX_LIVE_BYTES})
        parts[LEFT_OUT.encode()] = json.dumps({"bytes": len(spec.text), "depth": spec.depth}).encode()
    if b"status" in found:
        parts[b"status"] = _bounded(found[b"status"])
    return _object(parts)


def _tuningjob_metadata(fields: Members) -> bytes:
    parts = {name: member.text for name, member in fields.items() if name in _METADATA}
    annotations = fields.get(b"annotations")
    if annotations is not None and annotations.depth:
        creator = members(annotations.text).get(names.ANNOTATION_CREATED_BY.encode())
        if creator is not None and len(creator.text) <= _MAX_CREATOR_BYTES:
            parts[b"annotations"] = _object({names.ANNOTATION_CREATED_BY.encode(): creator.text})
    return _object(parts)


def _bounded(member: JsonField) -> bytes:
    """The value of a field; of an object, those of its fields that are within their bounds."""
    if not member.fields:
        return member.text
    # managedFields are half of the bytes of a body, and nothing here reads them
    return _object(
        {name: each.text for name, each in member.fields.items() if name != b"managedFields" and _is_bounded(each)}
    )


def _is_bounded(member: JsonField) -> bool:
    return len(member.text) <= _MAX_FIELD_BYTES and member.depth <= _MAX_FIELD_DEPTH


def _object(parts: Mapping[bytes, bytes]) -> bytes:
    return b"{%b}" % b",".join(b'"%b":%b' % part for part in parts.items())


def is_partial(body: Mapping[str, Any]) -> bool:
    """Whether the spec was left out of this TuningJob, but for the fields that may change while it runs."""
    return LEFT_OUT in body


def slots_of(body: Mapping[str, Any]) -> int:
    """How many times the room of an ordinary TuningJob this one takes, with the Job that is made of its spec."""
    told = body.get(LEFT_OUT)
    if told is None or unreadable(body) is not None:
        return 1
    return 1 + int(told["bytes"]) // KEPT_SPEC_BYTES


def is_large(body: Mapping[str, Any]) -> bool:
    """Whether this TuningJob's spec is so large that it is worked on in a thread of its own."""
    return SPEC_BYTES in body


def as_written(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """A TuningJob without the marks that this module makes."""
    return {name: value for name, value in body.items() if name not in {LEFT_OUT, SPEC_BYTES}}


def unreadable(body: Mapping[str, Any]) -> Problem | None:
    """Why the spec that was left out of this TuningJob is never read; None if it only was not kept."""
    told = body.get(LEFT_OUT)
    if told is None:
        return None
    if told["depth"] > _MAX_FIELD_DEPTH:
        must_be = f"lists and maps inside each other, {MAX_DEPTH} deep at the most"
        return Problem("spec", must_be, f"{told['depth']:,} deep", "Delete the TuningJob, and apply it with less.")
    if told["bytes"] > MAX_SPEC_BYTES:
        advice = "Long lists are said by {range: …} or {linspace: …}. Delete the TuningJob, and apply it with less."
        must_be = f"of at most {MAX_SPEC_BYTES // 2**10} KiB as JSON"
        return Problem("spec", must_be, f"{told['bytes'] // 2**10:,} KiB", advice)
    return None
