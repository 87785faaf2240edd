"""Ask the API server and the models alike whether they take a spec."""

from collections.abc import Iterator

from tests.manifest.conftest import JOBS
from tests.manifest.manifests import (
    SPEC,
    Body,
    Path,
    at,
    fields,
    manifest,
)
from tests.servers.apiserver import ApiServer, Refused
from tuningjob.errors import ManifestRefused
from tuningjob.manifest import load


def refusal(server: ApiServer, spec: Body, name: str = "sample") -> str:
    """What the API server has to say against it; empty if it takes it."""
    try:
        server.call("POST", f"{JOBS}?dryRun=All&fieldValidation=Strict", manifest(spec, name))
    except Refused as refused:
        return str(refused).replace('\\"', '"')
    return ""


def is_refused_here(spec: Body, name: str = "sample") -> bool:
    try:
        load(manifest(spec, name))
    except ManifestRefused:
        return True
    return False


def present(spec: Body) -> Iterator[tuple[Path, Body]]:
    """The fields that a spec has, each with its schema."""
    for path, schema in fields(SPEC, spec):
        try:
            at(spec, path)
        except LookupError:
            continue
        yield path, schema
