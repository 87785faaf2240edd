"""Hostile objects: manifests and what follows them, and objects that look as the operator's own do."""

import base64
import json
from typing import Any, Final

from tests.chaos import attacks
from tests.chaos.holdings import EVIL, MERGE, MINE, Holdings
from tests.operator.world import manifest

# What a follow-up sends to a TuningJob, as merge patches: where, and what.
_PATCHES: Final[dict[str, list[tuple[str, bytes]]]] = {
    "suspend and resume": [("", b'{"spec":{"suspend":%b}}' % told) for told in (b"true", b"false", b"true", b"false")],
    "cancel": [("", b'{"spec":{"cancel":true}}')],
    "scale": [("/scale", b'{"spec":{"replicas":%b}}' % told) for told in (b"100000", b"0", b"-1", b"7")],
    "annotate again and again": [("", b'{"metadata":{"annotations":{"a":"%d"}}}' % number) for number in range(10)],
}


def write_manifest(holdings: Holdings, attack: attacks.Manifest) -> None:
    name = holdings.named("manifest")
    text = _replaced(manifest(name, estimator={"class": "sklearn.svm.SVC", "params": {}}), attack)
    holdings.create(name, text)
    if "delete" in attack.follow:
        holdings.delete(name)
    if "create again" in attack.follow:
        holdings.create(name, text)
    if attack.follow == "change what is frozen":
        change = b'{"spec":{"estimator":{"params":{"tol":%b}}}}' % attack.text.written()
        holdings.ask("PATCH", f"{MINE}/{name}?fieldValidation=Ignore", change, kind=MERGE)
    for where, patch in _PATCHES.get(attack.follow, []):
        holdings.ask("PATCH", f"{MINE}/{name}{where}", patch, kind=MERGE)


def flood(holdings: Holdings, attack: attacks.Flood) -> None:
    for _ in range(attack.count):
        holdings.create(holdings.named("flood"))


def place_child(holdings: Holdings, victims_name: str, attack: attacks.Child) -> None:
    owner, uid = _owner(holdings, victims_name, attack.named_after)
    labels = {
        "app.kubernetes.io/managed-by": "tuningjob",
        "app.kubernetes.io/name": "tuningjob",
        "tuningjob.dev/name": owner,
    }
    reference = {
        "apiVersion": "tuningjob.dev/v1alpha1",
        "kind": "TuningJob",
        "name": owner,
        "uid": uid,
        "controller": True,
    }
    filler = attack.text.written()[:200_000].decode("latin-1").replace("\0", "")
    metadata = {
        "name": f"{owner}-results" if attack.kind == "configmaps" else owner,
        "labels": {**labels, "tuningjob.dev/uid": uid},
        "annotations": {"tuningjob.dev/began-at": filler[:100_000], "filler": "x" * min(attack.size, 100_000)},
        "ownerReferences": [reference],
    }
    container = {"name": "worker", "image": "none", "env": [{"name": "A", "value": "x" * attack.size}]}
    pod = {"restartPolicy": "Never", "containers": [container]}
    body: dict[str, Any] = {"metadata": metadata}
    path = f"/api/v1/namespaces/{EVIL}/{attack.kind}"
    match attack.kind:
        case "jobs":
            path = f"/apis/batch/v1/namespaces/{EVIL}/jobs"
            body |= {"spec": {"template": {"metadata": {"labels": labels}, "spec": pod}}}
        case "pods":
            body |= {"spec": pod}
        case "events":
            body |= {"involvedObject": {"namespace": EVIL, "kind": "TuningJob", "name": owner, "uid": uid}}
        case _:
            body |= {"data": {"token": base64.b64encode(b"x" * (attack.size // 2)).decode()}}
    if holdings.ask("POST", path, json.dumps(body).encode()) == 201:
        if attack.named_after == "one to come":
            holdings.create(owner)
        holdings.ask("DELETE", f"{path}/{metadata['name']}?propagationPolicy=Background")


def _owner(holdings: Holdings, victims_name: str, which: str) -> tuple[str, str]:
    """The name and the uid of whose child it says to be."""
    if which == "a search of ours":
        search = holdings.search()
        return search.name, search.uid
    return (holdings.named("to-come"), "0" * 8) if which == "one to come" else (victims_name, "0" * 8)


def _replaced(body: dict[str, Any], attack: attacks.Manifest) -> bytes:
    """The manifest with the text in its place, whatever Python's encoder would say to that."""
    *way, last = attack.place.split(".")
    at = body
    for step in way:
        at = at.setdefault(step, {})
    at[last] = "HERE"
    return json.dumps(body).encode().replace(b'"HERE"', attack.text.written())
