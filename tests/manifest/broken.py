"""Manifests that are slightly broken, as hypothesis makes them from the CRD's own schema: a new field is tried without a word here."""

import copy
from typing import Any, Final

from hypothesis import strategies as st

from tests.manifest.generated import (
    bad_parameters,
    bad_reads,
    dotted_paths,
    label_keys,
    label_values,
    mount_paths,
    names,
    params,
    quantities,
    random_parameters,
    reads,
    specs,
)
from tests.manifest.manifests import MINIMAL, SPEC, Body, at, fields
from tuningjob.manifest.canonical import canonical

# texts at the edge of some field's rule, and for most fields beyond it
_ODD_TEXTS: Final = (
    "", " ", ".", "..", "a..b", "a.b", "A", "-a", "a-", "a b", "a\n", "\n", "é", "ſ", "a\x00", "a__b", "a=b", "a:b", "$(HOME)",
    "/", "//", "/a", "/a/", "/a//b", "/a/../b", "/a/./b", "/...", "/a/...", "/data", "/data/x", "/database", "/tmp", "/var",
    "/var/run", "/run/tuningjob/x", "HOME", "home", "TUNINGJOB_X", "TUNINGJOB", "OMP_NUM_THREADS", "yes", "null", "1", "0", "-1",
    "1.0", "1e99", "1e-99", "1e99999999999", "1E-99999999999", "0Gi", "1KI", "1Pi", "2Pi", "1048575", "0.9Mi", "10001", "inf",
    "nan", "1_0", "١", "../x.csv", "x.CSV", "x.txt", "csv", ".csv", "a/..", "x.pq", "x.parquet", "sklearn.datasets.load_iris",
    "os.system", "s3://b/x.csv", "https://h/a?x=y", "abfs://c@a.dfs.core.windows.net/x.pq", "s3://b/x/", "passthrough", "species", "Exists", "Equal", "NoExecute", "a/b", "a/b/c", "/b", "a/", "x" * 63, "x" * 64,
    "x" * 253, "x" * 254, "x" * 513, "registry.example:5000/a@sha256:00",
)  # fmt: skip
_odd_text = st.sampled_from(_ODD_TEXTS)
_odd: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(
        [
            None,
            True,
            False,
            0,
            1,
            -1,
            1.0,
            1.5,
            1e300,
            2**31,
            2**31 - 1,
            2**63,
            -(2**63),
            [],
            {},
            [None],
            [[]],
            {"a": 1},
        ]
    ),
    _odd_text,
    st.text(max_size=8),
    st.integers(),
)


def near(schema: Body) -> st.SearchStrategy[Any]:
    """Values for this place of the schema: mostly of its type, at its bounds or just beyond, or what fits another place."""
    if "quoteChar" in schema.get("properties", {}):
        return reads | bad_reads | _odd
    fitting = st.deferred(lambda: _fitting(schema))
    return st.one_of(fitting, fitting, fitting, _odd)


def _fitting(schema: Body) -> st.SearchStrategy[Any]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"]) | _odd_text
    if schema.get("x-kubernetes-int-or-string"):
        return quantities | _odd_text
    makers = {
        "integer": _integers,
        "number": _integers,
        "boolean": lambda _: st.booleans(),
        "string": _texts,
        "array": lambda found: st.lists(near(found["items"]), max_size=2).flatmap(_perhaps_twice),
        "object": _maps,
    }
    return makers[schema["type"]](schema) if "type" in schema else params | random_parameters | bad_parameters


def _perhaps_twice(items: list[Any]) -> st.SearchStrategy[list[Any]]:
    return st.sampled_from([items, items * 2])


def _integers(schema: Body) -> st.SearchStrategy[Any]:
    low, high = schema["minimum"], schema["maximum"]
    return st.sampled_from([low - 1, low, low + 1, high - 1, high, high + 1, float(low)]) | st.integers(low, int(high))


def _texts(schema: Body) -> st.SearchStrategy[Any]:
    lengths = st.sampled_from([schema["maxLength"] + more for more in (-1, 0, 1)])
    return st.one_of(names, label_keys, _odd_text, dotted_paths, mount_paths, lengths.map(lambda length: "x" * length))


def _maps(schema: Body) -> st.SearchStrategy[Any]:
    if "properties" not in schema:
        of_labels = st.dictionaries(label_keys | _odd_text, label_values | _odd_text | _odd, max_size=2)
        return of_labels if "type" in schema["additionalProperties"] else params
    inner = {key: near(found) for key, found in schema["properties"].items()}
    required = {key: inner.pop(key) for key in schema.get("required", ())}
    keys = st.lists(st.sampled_from(sorted(inner)), unique=True, max_size=3) if inner else st.just([])
    return keys.flatmap(lambda chosen: st.fixed_dictionaries({**required, **{key: inner[key] for key in chosen}}))


@st.composite
def edited(draw: st.DrawFn, spec: Body, most: int = 3) -> Body:
    """``spec`` with up to ``most`` changes, of which each may break it: another value, none, one more, an unknown field."""
    spec = copy.deepcopy(spec)
    for _ in range(draw(st.integers(0, most))):
        places = list(fields(SPEC, spec))
        # the search more often than by its few fields among so many
        of_search = [(path, schema) for path, schema in places if path[0] == "search"]
        path, schema = draw(st.sampled_from(draw(st.sampled_from([places, places, places, of_search]))))
        try:
            parent = at(spec, path[:-1])
            kind = draw(st.sampled_from(["another", "another", "another", "none", "twice", "unknown"]))
            if kind == "none":
                del parent[path[-1]]
            elif kind == "twice" and isinstance(parent, list):
                parent.append(copy.deepcopy(parent[int(path[-1])]))
            elif (
                kind == "unknown" and isinstance(parent, dict) and "x-kubernetes-preserve-unknown-fields" not in schema
            ):
                # a null is nothing at all where a manifest is read, and an unknown field to the API server
                key = draw(st.sampled_from(["unknown", "hostPath", "privileged", "Name", "name", "class", ""]))
                parent[key] = copy.deepcopy(draw(_odd.filter(lambda value: value is not None)))
            else:
                # a copy: what is sampled from must not be edited by the next change
                parent[path[-1]] = copy.deepcopy(draw(near(schema)))
        except (KeyError, IndexError, TypeError):
            continue  # it was not there
    return spec


@st.composite
def mixed(draw: st.DrawFn, spec: Body) -> Body:
    """``spec`` with a field or two of another valid one, at the top or one below it."""
    spec, other = copy.deepcopy(spec), draw(specs)
    for key in draw(st.lists(st.sampled_from(sorted({*spec, *other})), min_size=1, max_size=2, unique=True)):
        if (
            key in {"pod", "resources", "limits"}
            and isinstance(spec.get(key), dict)
            and isinstance(other.get(key), dict)
        ):
            spec[key] |= draw(st.sampled_from([{name: value} for name, value in other[key].items()] or [{}]))
        elif key == "search" and "random" in spec[key] and "random" in other[key]:
            drawn = other[key]["random"]
            spec[key]["random"] |= draw(st.sampled_from([drawn, *({name: value} for name, value in drawn.items())]))
        elif key in {"data", "crossValidation"}:
            # columns are of this file alone
            spec |= {name: other[name] for name in ("data", "crossValidation") if name in other}
        elif key in other:
            spec[key] = other[key]
        elif key not in MINIMAL:
            del spec[key]
    return spec


def sent(document: Any) -> Any:
    """As kubectl sends it: YAML's 1.0 becomes JSON's 1 on the way. A null stays."""
    if isinstance(document, dict):
        return {key: sent(value) for key, value in document.items()}
    return [sent(value) for value in document] if isinstance(document, list) else canonical(document)
