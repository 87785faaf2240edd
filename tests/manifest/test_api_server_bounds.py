"""The CRD's bounds on a real API server: at each the value that is just taken and the one that is just refused."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from tests.manifest.asking import is_refused_here, present, refusal
from tests.manifest.manifests import (
    MINIMAL,
    SAMPLES,
    SPEC,
    Body,
    Path,
    at,
)
from tests.manifest.manifests import with_value as changed
from tests.manifest.manifests import without as lacking
from tests.servers.apiserver import ApiServer
from tuningjob.manifest.refusals import field_path

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def test_the_samples_have_every_field() -> None:
    found = {tuple(part for part in path if isinstance(part, str)) for spec in SAMPLES for path, _ in present(spec)}
    known = {tuple(part for part in path if isinstance(part, str)) for path in declared(SPEC)}
    assert known - found == set()


def declared(schema: Body, path: Path = ()) -> Iterator[Path]:
    for key, inner in schema.get("properties", {}).items():
        yield (*path, key)
        yield from declared(inner, (*path, key))
    if "items" in schema:
        yield from declared(schema["items"], path)


def longer(value: str, length: int) -> list[str]:
    """``value``, made ``length`` long: at its end, at its beginning, as a label's prefix."""
    fill = "a" * (length - len(value))
    return [value + fill, fill + value, f"{fill[1:]}/{value}"]


def numbered(path: Path, item: Any, count: int) -> list[Any]:
    """``count`` items like this one, none like another."""
    if isinstance(item, str):
        return [f"{item}{i}" for i in range(count)]
    key = "topologyKey" if path[-1] == "topologySpread" else "name"
    items = [{**item, **({key: f"{item[key]}{i}"} if key in item else {})} for i in range(count)]
    return [{**item, "mountPath": f"/x{i}"} if "mountPath" in item else item for i, item in enumerate(items)]


Case = tuple[str, list[Body], list[Body]]
# A value of each of these fits only some values of the other: tried below.
_TOGETHER: Final = (("scoring",), ("refit",))


def bounds() -> Iterator[Case]:
    """A name, specs of which one at least must be taken, specs of which none may be."""
    seen: set[tuple[Any, ...]] = set()
    for spec in SAMPLES:
        for path, schema in present(spec):
            key = tuple("*" if isinstance(part, int) else part for part in path)
            if key not in seen and path not in _TOGETHER:
                yield from _bounds_of(spec, path, schema)
            seen.add(key)


def _bounds_of(spec: Body, path: Path, schema: Body) -> Iterator[Case]:
    name, value = field_path(("spec", *path)), at(spec, path)
    for bound, beside in _BESIDE.items():
        # of a union the bounds of the kind that the value is of
        if bound in schema and ("type" in schema or isinstance(value, _KINDS.get(bound, object))):
            good, bad = beside(path, value, schema[bound])
            yield (
                f"{name}: {bound}",
                [changed(spec, path, each) for each in good],
                [changed(spec, path, each) for each in bad],
            )
    if (wrong := _OF_ANOTHER_TYPE.get(schema.get("type", ""))) is not None:
        yield f"{name}: {schema['type']}", [spec], [changed(spec, path, wrong)]
    if "properties" in schema:
        yield f"{name}: nothing else", [spec], [changed(spec, (*path, "unknown"), 1)]
        for field in schema.get("required", []):
            yield f"{name}: {field} is required", [spec], [lacking(spec, (*path, field))]


def _beside_max_length(path: Path, value: Any, limit: int) -> tuple[list[Any], list[Any]]:
    if path[0] == "resources" or path[-1] == "emptyDir":
        return [str(value).zfill(limit)], [str(value).zfill(limit + 1)]
    if path[-2:] == ("table", "url"):  # its end says what kind of file it is
        stem, _, end = value.rpartition(".")
        return [f"{stem.ljust(limit - len(end) - 1, 'a')}.{end}"], [f"{stem.ljust(limit - len(end), 'a')}.{end}"]
    return longer(value, limit), longer(value, limit + 1)


def _named(path: Path, count: int) -> Body:
    # else a label's value, and a type
    words = {"simplest": "ascending", "scales": "log"}
    value = next((words[str(part)] for part in path if part in words), "str")
    return {f"a{i}": value for i in range(count)}


# For each of a schema's bounds: values of which one is just taken, and values that are just refused.
_BESIDE: Final[dict[str, Callable[[Path, Any, Any], tuple[list[Any], list[Any]]]]] = {
    "minimum": lambda _, __, limit: ([limit], [limit - 1]),
    "maximum": lambda _, __, limit: ([limit], [limit + 1]),
    "maxLength": _beside_max_length,
    "minLength": lambda _, value, limit: ([value], [value[: limit - 1]]),
    "maxItems": lambda path, value, limit: ([numbered(path, value[0], limit)], [numbered(path, value[0], limit + 1)]),
    "minItems": lambda _, value, limit: ([value[:limit]], [value[: limit - 1]]),
    "maxProperties": lambda path, _, limit: ([_named(path, limit)], [_named(path, limit + 1)]),
    "enum": lambda _, __, known: (known, ["other", ""]),
}
_KINDS: Final = {"minLength": str, "maxLength": str, "minItems": list, "maxItems": list}
_OF_ANOTHER_TYPE: Final[Body] = {"integer": "1", "string": 1, "boolean": "true", "array": {}, "object": []}
BOUNDS: Final = list(bounds())


@pytest.mark.parametrize(("good", "bad"), [case[1:] for case in BOUNDS], ids=[case[0] for case in BOUNDS])
def test_a_bound_refuses_and_takes(server: ApiServer, good: list[Body], bad: list[Body]) -> None:
    taken = [refusal(server, spec) == "" for spec in good]
    assert any(taken), refusal(server, good[0])
    assert [not is_refused_here(spec) for spec in good] == taken
    for spec in bad:
        assert refusal(server, spec) != "", spec
        assert is_refused_here(spec)


@pytest.mark.parametrize("limit", [32, 63])
def test_metrics_are_bounded_in_number_and_length(server: ApiServer, limit: int) -> None:
    def scored(scoring: Any, refit: str) -> Body:
        return {**MINIMAL, "scoring": scoring, "refit": refit}

    def beside(count: int) -> list[Body]:
        if limit == 63:
            return [scored(name := "x" * count, name), scored([name], name), scored({name: "f1"}, name)]
        return [scored([f"m{i}" for i in range(count)], "m0"), scored({f"m{i}": "f1" for i in range(count)}, "m0")]

    for good, bad in zip(beside(limit), beside(limit + 1), strict=True):
        assert (refusal(server, good), is_refused_here(good)) == ("", False)
        assert refusal(server, bad) != ""
        assert is_refused_here(bad)


@pytest.mark.parametrize("scoring", [["f1", "recall"], {"a": "f1", "b": "recall"}, [], {}, ""])
def test_several_metrics_need_a_refit_and_none_is_no_scoring(server: ApiServer, scoring: Any) -> None:
    spec = {**MINIMAL, "scoring": scoring}
    assert refusal(server, spec) != ""
    assert is_refused_here(spec)
