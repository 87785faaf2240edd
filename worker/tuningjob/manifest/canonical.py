"""One meaning for a manifest, whether or not it went through an API server.

`kubectl` reads YAML by Go's rules and turns it into JSON; the API server turns ``1.0`` into ``1`` and drops a null
under a key. This module reads a file by the same rules and brings it to the same form, so that it means the same on a laptop.
``canonical`` is idempotent, and what comes back from an API server is already canonical.
"""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from tuningjob.aliases import Anything, Json
from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest import bounds

_INT64_BOUND: Final = 2**63

# The implicit types of the YAML reader behind kubectl (sigs.k8s.io/yaml, its goyaml.v2), where they differ from
# PyYAML's: `1e-3` is a number, `12:30:00` and `2026-01-01` are strings, an integer may be 0o17, 0x1f, 0b1 or 1_000.
_BOOLS: Final = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
}
_FLOAT: Final = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_INT: Final = re.compile(r"^[-+]?(0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+|0[0-7]*|[1-9][0-9]*)$")
_NON_FINITE: Final = re.compile(r"^([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$")

# In base 2 a number of this length has some 300 decimal digits; int() itself refuses beyond 4,300.
_LONGEST_INT: Final = 1_026

_PLAIN_TAG: Final = "tag:tuningjob.dev,2026:plain"
_MERGE_TAG: Final = "tag:yaml.org,2002:merge"


# Keys of merged maps that one map may take, because each level of merges copies those below it.
_MOST_MERGED: Final = 10_000


def _error(problem: str, mark: Anything) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, mark)


class _Loader(yaml.SafeLoader):
    """PyYAML's parser with the implicit types of the reader behind kubectl."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  PyYAML's own shape

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._nodes = 0
        self._open_anchors: list[str | None] = []

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a node as PyYAML does, which recurses, but only so deep, and not into a node that is inside itself."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) and event.anchor in self._open_anchors:
            raise _error(f"the alias *{event.anchor} stands for what it is inside of", event.start_mark)
        if self._depth > bounds.MAX_DEPTH:
            raise _error(f"lists and maps are more than {bounds.MAX_DEPTH} deep inside each other", event.start_mark)
        self._nodes += 1
        if self._nodes > bounds.MAX_VALUES:
            raise _error(f"there are more than {bounds.MAX_VALUES:,} values", event.start_mark)
        self._depth += 1
        self._open_anchors.append(event.anchor)
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1
            self._open_anchors.pop()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge maps as PyYAML does, which copies what is merged, but only so many keys."""
        pairs = 0
        for key, value in node.value:
            if key.tag == _MERGE_TAG:
                for merged in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    if isinstance(merged, yaml.MappingNode):
                        self.flatten_mapping(merged)
                        pairs += len(merged.value)
                    if pairs > _MOST_MERGED:
                        raise _error(f"more than {_MOST_MERGED:,} keys are merged", key.start_mark)
        super().flatten_mapping(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002  PyYAML's
        """Construct a map with keys as in JSON: strings, each once (``1`` and ``true`` would be one key to Python)."""
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.tag == _MERGE_TAG:
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise _error("a key is a list or a map", key_node.start_mark)
            key = _key(self.construct_object(key_node, deep=True))
            if key in seen:
                raise _error(f"the key {key!r} is there twice", key_node.start_mark)
            seen.add(key)
        self.flatten_mapping(node)
        return {
            _key(self.construct_object(key, deep=True)): self.construct_object(value, deep=deep)
            for key, value in node.value
        }


def _parse_int(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    digits = text.lstrip("+-").lower()
    for prefix, base in (("0x", 16), ("0o", 8), ("0b", 2)):
        if digits.startswith(prefix):
            return sign * int(digits[2:], base)
    return sign * int(digits, 8 if len(digits) > 1 and digits.startswith("0") else 10)


def _scalar(_loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Anything:
    return _plain(str(node.value), node.start_mark)


def _plain(text: str, mark: yaml.Mark | None = None) -> Anything:
    """The value of bare text."""
    if text in {"", "~", "null", "Null", "NULL"}:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    plain = text.replace("_", "")
    if _INT.match(plain):
        if len(plain) > _LONGEST_INT:
            raise _refuse(_place(mark) if mark is not None else "the file", *bounds.of_too_many_digits(len(plain)))
        return _parse_int(plain)
    if _FLOAT.match(plain):
        return float(plain)
    if _NON_FINITE.match(text):
        return float(text.replace(".", "").lower())
    return text


_Loader.add_implicit_resolver(_PLAIN_TAG, re.compile(r"^(?!<<$).*$", re.DOTALL), None)
_Loader.add_implicit_resolver(_MERGE_TAG, re.compile(r"^<<$"), ["<"])
_Loader.add_constructor(_PLAIN_TAG, _scalar)


def _refuse(field: str, must_be: str, got: str, advice: str = "") -> ManifestRefused:
    return ManifestRefused([Problem(field=field, must_be=must_be, got=got, advice=advice)])


def _place(mark: yaml.Mark) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


# PyYAML turns these into line breaks, and any others into blanks.
_BREAKS: Final = frozenset("\r\n\x85\u2028\u2029")


class _Dumper(yaml.SafeDumper):
    """PyYAML's writer, which quotes text that the reader behind kubectl would take for something else."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002  whatever is written
        """Write no anchors: a value that occurs twice is written twice, for people."""
        return True


def _quoted_if_need_be(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    is_text = len(text) <= _LONGEST_INT and isinstance(_plain(text), str) and _BREAKS.isdisjoint(text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if is_text else '"')


_Dumper.add_representer(str, _quoted_if_need_be)


def to_yaml(document: Json) -> str:
    """The document as YAML for people; ``read_yaml`` of it is equal, and so is what kubectl sends."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, default_flow_style=None, allow_unicode=True, width=120)


def read_yaml(text: str) -> Json:
    """The one document in ``text``, in canonical form. Raises ManifestRefused for what is not YAML, or not one document."""
    try:
        documents = [document for document in yaml.load_all(text, Loader=_Loader) if document is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = _place(mark) if mark is not None else "the file"
        reason = getattr(error, "problem", None) or str(error)
        raise _refuse(where, "YAML", f"a syntax error ({reason})") from error
    if len(documents) != 1:
        raise _refuse("the file", "one YAML document", f"{len(documents)} documents")
    bounds.check_document(documents[0], max_bytes=bounds.MAX_FILE_BYTES)
    return canonical(documents[0])


def read_file(path: Path) -> Json:
    """``read_yaml`` of a file. Raises ManifestRefused for one that cannot be read, or is longer than a manifest can be."""
    try:
        with path.open("rb") as file:
            content = file.read(bounds.MAX_FILE_BYTES + 1)
        if len(content) > bounds.MAX_FILE_BYTES:
            must_be = f"a file of at most {bounds.readable_size(bounds.MAX_FILE_BYTES)}"
            raise _refuse(str(path), must_be, "a longer one")
        return read_yaml(content.decode("utf-8"))
    except OSError as error:
        raise _refuse(str(path), "a readable file", (error.strerror or str(error)).lower()) from error
    except UnicodeDecodeError as error:
        raise _refuse(str(path), "UTF-8 text", "other bytes") from error


def canonical(value: Json, path: str = "") -> Json:
    """``value`` as it would come back from an API server.

    Integral floats within 64 bits become integers, integers beyond become floats, nulls under a key are dropped, keys
    become strings. Raises ManifestRefused for what JSON cannot carry (infinities and NaN), and for what
    is too deep, too much, or too large a number (``tuningjob.manifest.bounds``).
    """
    bounds.check_document(value, path)
    return _canonical(value, path)


def _canonical(value: Json, path: str) -> Json:
    if isinstance(value, Mapping):
        return dict(_canonical_items(value, path))
    if isinstance(value, list | tuple):
        return [_canonical(item, f"{path}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return value if -_INT64_BOUND <= value < _INT64_BOUND else float(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _refuse(path or "the file", "a finite number", repr(value), f'Write {{float: "{value}"}}.')
        integral = value.is_integer() and -_INT64_BOUND <= value < _INT64_BOUND
        return int(value) if integral else value
    raise _refuse(path or "the file", "a value that JSON can carry", f"a {type(value).__name__}")


def _canonical_items(value: Mapping[Any, Any], path: str) -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if item is None:
            continue
        name = _key(key)
        yield name, _canonical(item, f"{path}.{name}" if path else name)


def _key(key: object) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, float) and key.is_integer():
        return str(int(key))
    return str(key)
