"""Changes of a TuningJob on a real API server: the fields that stay as they were created, and those that may change."""

import re
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.manifest.asking import refusal
from tests.manifest.conftest import JOBS
from tests.manifest.frozen_fields import FROZEN
from tests.manifest.manifests import (
    CRD,
    DRAWN,
    FULL,
    MINIMAL,
    SPEC,
    VARIABLE,
    Body,
    Path,
    at,
    manifest,
)
from tests.manifest.manifests import with_value as changed
from tests.manifest.manifests import without as lacking
from tests.servers.apiserver import ApiServer, Refused
from tuningjob.manifest import load
from tuningjob.manifest.live import CANCELLED, MUTABLE_FIELDS, frozen_changes
from tuningjob.manifest.models import TuningJobSpec

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

ADVICE: Final = "must stay as it was created: delete the TuningJob and apply it again to run another"


def written(spec: Body, path: Path, value: Any) -> Body:
    """With this value, in an object that may have to be made; ... is none."""
    for depth in range(1, len(path)):
        try:
            at(spec, path[:depth])
        except LookupError:
            spec = changed(spec, path[:depth], {})
    spec = changed(spec, path, None if value is ... else value)
    return lacking(spec, path) if value is ... else spec


def change(server: ApiServer, before: Body, after: Body) -> str:
    """What the API server has to say against the change; empty if it makes it."""
    return changes(server, before, after)[0]


def changes(server: ApiServer, before: Body, *afters: Body) -> list[str]:
    """The same of several changes, each tried from the same beginning."""
    stored = server.create_object(JOBS, manifest(before, "changing"))
    try:
        return [_said(server, {**stored, "spec": after}) for after in afters]
    finally:
        server.call("DELETE", f"{JOBS}/changing")


def _said(server: ApiServer, changed: Body) -> str:
    try:
        server.call("PUT", f"{JOBS}/changing?dryRun=All&fieldValidation=Strict", changed)
    except Refused as refused:
        return str(refused)
    return ""


# They have no type there, and stand beside others that have none: the object that has them is named.
UNTYPED: Final = {"data.params", "data.target", "data.features", "estimator.params", "estimator.remainder"}
CHANGES: Final = [(name, *case) for name, cases in FROZEN.items() for case in cases]


@pytest.mark.parametrize(("name", "spec", "one", "other"), CHANGES, ids=[case[0] for case in CHANGES])
def test_a_field_stays_as_it_was_created(server: ApiServer, name: str, spec: Body, one: Any, other: Any) -> None:
    path = tuple(name.split("."))
    before, after = written(spec, path, one), written(spec, path, other)
    # a field that is optional may neither come nor go; two values of one that is there are the same rule to and fro
    for old, new in ((before, after), *([(after, before)] if ... in (one, other) else [])):
        told, same = changes(server, old, new, old)
        named = f"spec.{name.rpartition('.')[0] if name in UNTYPED else name}"
        assert f"{named}: Forbidden: {ADVICE}" in told, told
        assert re.findall(r'"field":"([^"]+)"', told) == [named]
        assert frozen_changes(load(manifest(old)).spec, load(manifest(new)).spec) == [f"spec.{name}"]
        assert same == ""


@pytest.mark.parametrize("parameters", [{"C": [1, 2]}, {"C": [1, 2], "gamma": {"linspace": [0, 1, 5]}}, {}])
def test_a_grid_and_a_random_search_do_not_become_each_other(server: ApiServer, parameters: Body) -> None:
    """Not even with the same parameters, nor with more changed."""
    grid = changed(MINIMAL, ("search",), {"grid": {"parameters": parameters}})
    random = changed(MINIMAL, ("search",), {"random": {"parameters": parameters}})
    for old, new in ((grid, random), (random, grid), (grid, DRAWN), (DRAWN, grid)):
        told = change(server, old, new)
        assert told.count(f"Forbidden: {ADVICE}") >= 2
        assert set(re.findall(r'"field":"([^"]+)"', told)) == {"spec.search.grid", "spec.search.random"}
        found = frozen_changes(load(manifest(old)).spec, load(manifest(new)).spec)
        assert found == ["spec.search.grid", "spec.search.random"]


def test_every_field_that_must_not_change_has_its_case() -> None:
    mutable = {TuningJobSpec.model_fields[name].alias for name in MUTABLE_FIELDS}
    # a list is one field, and so is whatever has no fields of its own
    leaves = {path for path in frozen_paths(SPEC) if path[0] not in mutable}
    assert {".".join(path) for path in leaves} == set(FROZEN)


def frozen_paths(schema: Body, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, inner in schema["properties"].items():
        if "properties" in inner:
            yield from frozen_paths(inner, (*path, key))
        else:
            yield (*path, key)


@pytest.mark.parametrize(
    ("field", "one", "other"),
    [
        ("parallelism", 1, 10_000),
        ("suspend", False, True),
        ("activeDeadlineSeconds", 1, 2),
        ("activeDeadlineSeconds", 1, ...),
        ("ttlSecondsAfterFinished", 0, 2),
        ("ttlSecondsAfterFinished", 0, ...),
    ],
)
def test_what_is_of_the_clusters_side_may_change_to_and_fro(
    server: ApiServer, field: str, one: Any, other: Any
) -> None:
    before, after = written(MINIMAL, (field,), one), written(MINIMAL, (field,), other)
    assert (change(server, before, after), change(server, after, before)) == ("", "")
    assert frozen_changes(load(manifest(before)).spec, load(manifest(after)).spec) == []


def test_a_search_is_cancelled_for_good(server: ApiServer) -> None:
    cancelled = {**MINIMAL, "cancel": True}
    assert change(server, MINIMAL, cancelled) == ""
    for again in (MINIMAL, {**MINIMAL, "cancel": False}):
        assert f"spec.cancel: Forbidden: {CANCELLED}" in change(server, cancelled, again)
        assert frozen_changes(load(manifest(cancelled)).spec, load(manifest(again)).spec) == ["spec.cancel"]


def test_every_field_that_changed_is_named(server: ApiServer) -> None:
    told = change(server, MINIMAL, {**MINIMAL, "image": "a", "resources": {"cpu": 2}, "pod": {"env": [VARIABLE]}})
    assert set(re.findall(r'"field":"([^"]+)"', told)) == {"spec.image", "spec.resources.cpu", "spec.pod.env"}


def test_what_the_api_server_filled_in_may_be_left_out_of_the_manifest_that_is_applied_again(server: ApiServer) -> None:
    assert change(server, MINIMAL, MINIMAL) == ""
    assert change(server, FULL, FULL) == ""
    drawn = changed(MINIMAL, ("search",), {"random": {"parameters": {"C": {"uniform": [0, 1]}}}})
    spelled = changed(drawn, ("search", "random"), {**drawn["search"]["random"], "iterations": 10, "randomState": 0})
    for one, other in ((drawn, drawn), (drawn, spelled), (spelled, drawn)):
        assert change(server, one, other) == ""


def test_one_that_came_before_the_rules_stays_changeable(server: ApiServer) -> None:
    """With a value that is refused today: what did not change is not judged again."""
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/tuningjobs.tuningjob.dev"
    name = f"{JOBS}/older"

    def install(schema: Body) -> None:
        found = server.call("GET", crds)
        found["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = schema
        server.call("PUT", crds, found)

    ours = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    install({"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    try:
        until_taken(server, {**MINIMAL, "image": ""}, name="older")
        install(ours)
        until_refused(server, {**MINIMAL, "image": ""})
        older = server.call("GET", name)
        scaled = {**older, "spec": {**older["spec"], "parallelism": 5}}
        assert server.call("PUT", name, scaled)["spec"]["parallelism"] == 5
        older = server.call("PUT", f"{name}/status", {**server.call("GET", name), "status": {"phase": "Running"}})
        assert older["status"] == {"phase": "Running"}
        with pytest.raises(Refused, match="must stay as it was created"):
            server.call("PUT", name, {**older, "spec": {**older["spec"], "reuse": True}})
    finally:
        install(ours)
        until_refused(server, {**MINIMAL, "image": ""})
        server.call("DELETE", name)


def until_taken(server: ApiServer, spec: Body, *, name: str) -> None:
    for _ in range(1000):
        try:
            server.create_object(JOBS, manifest(spec, name))
        except Refused:
            continue
        return
    raise AssertionError("never taken")


def until_refused(server: ApiServer, spec: Body) -> None:
    for _ in range(1000):
        if refusal(server, spec):
            return
    raise AssertionError("never refused")


def test_kubectl_scale_and_an_autoscaler_change_the_parallelism_alone(server: ApiServer) -> None:
    stored = server.create_object(JOBS, manifest(FULL, "scaled"))
    try:
        stored["status"] = {"activePods": 3, "selector": "tuningjob.dev/uid=1"}
        server.call("PUT", f"{JOBS}/scaled/status", stored)
        scale = server.call("GET", f"{JOBS}/scaled/scale")
        assert (scale["spec"], scale["status"]) == ({"replicas": 4}, {"replicas": 3, "selector": "tuningjob.dev/uid=1"})

        scale["spec"]["replicas"] = 7
        server.call("PUT", f"{JOBS}/scaled/scale", scale)
        found = server.call("GET", f"{JOBS}/scaled")
        assert (found["spec"]["parallelism"], found["metadata"]["generation"]) == (7, 2)
        with pytest.raises(Refused, match="greater than or equal to 1"):
            server.call(
                "PUT", f"{JOBS}/scaled/scale", {**scale, "metadata": found["metadata"], "spec": {"replicas": 0}}
            )
    finally:
        server.call("DELETE", f"{JOBS}/scaled")
