"""Kubernetes objects as the plain dicts that they are on the wire, and the few questions that we ask about them.

Pure. No generated model is used at run time: a body that we do not fully know must survive a round trip.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tuningjob.manifest.wellknown import API_VERSION, KIND
from tuningjob_operator import names

Body = dict[str, Any]


class Clock(Protocol):
    """Time, as the operator's parts need it."""

    def now(self) -> dt.datetime:
        """The wall clock's time, with its time zone."""

    def monotonic(self) -> float:
        """The monotonic clock, in seconds, for intervals."""


def ignore(*_: object) -> None:
    """Do nothing with a report: the default of every callback."""


@dataclass(frozen=True, order=True)
class Key:
    """A TuningJob's namespace and name, by which the work queue knows it. Its Job has the same key."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def key_of(body: Mapping[str, Any]) -> Key:
    """The key of an object: its namespace and name."""
    return Key(body["metadata"]["namespace"], body["metadata"]["name"])


def uid_of(body: Mapping[str, Any]) -> str:
    """The uid, which tells an object from one of the same name before or after it."""
    return str(body["metadata"]["uid"])


def generation_of(body: Mapping[str, Any]) -> int:
    """The generation: it grows with every change of the spec."""
    return int(body["metadata"].get("generation", 0))


def controller_of(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The owner reference that says `controller: true`."""
    references: list[Mapping[str, Any]] = body["metadata"].get("ownerReferences") or []
    return next((reference for reference in references if reference.get("controller")), None)


def is_owned_by(body: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    """Whether ``owner`` itself, and not an earlier object of its name, controls ``body``."""
    controller = controller_of(body)
    return controller is not None and controller.get("uid") == uid_of(owner)


def was_left_by_namesake(body: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    """Whether ``body`` belongs to an earlier TuningJob of ``owner``'s name: garbage collection will take it."""
    controller = controller_of(body)
    return (
        controller is not None
        and controller.get("kind") == KIND
        and controller.get("name") == owner["metadata"]["name"]
        and controller.get("uid") != uid_of(owner)
    )


def child_metadata(owner: Mapping[str, Any], name: str, component: str) -> Body:
    """Metadata of an object that lives and dies with a TuningJob.

    `blockOwnerDeletion` stays out: setting it asks for rights on the owner's finalizers, and nothing here may hang.
    """
    return {
        "name": name,
        "namespace": owner["metadata"]["namespace"],
        "labels": labels(owner, component),
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "name": owner["metadata"]["name"],
                "uid": uid_of(owner),
                "controller": True,
            }
        ],
    }


def labels(owner: Mapping[str, Any], component: str) -> dict[str, str]:
    """The labels of everything that is made for a TuningJob."""
    name = str(owner["metadata"]["name"])
    return {
        names.LABEL_APP: names.APP,
        names.LABEL_INSTANCE: name,
        names.LABEL_MANAGED_BY: names.APP,
        names.LABEL_COMPONENT: component,
        names.LABEL_NAME: name,
        names.LABEL_UID: uid_of(owner),
    }


def worker_selector(owner: Mapping[str, Any]) -> str:
    """The label selector of a TuningJob's worker pods, as `kubectl get pods -l` takes it."""
    return f"{names.LABEL_UID}={uid_of(owner)},{names.LABEL_COMPONENT}={names.COMPONENT_WORKER}"


def has_condition(body: Mapping[str, Any], kind: str) -> bool:
    """Whether a condition of this type is True in a body's status."""
    return find_condition(body, kind) is not None


def find_condition(body: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    """The condition of this type, if it is True."""
    conditions: list[Mapping[str, Any]] = (body.get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c.get("type") == kind and c.get("status") == "True"), None)


def living_pods(job: Mapping[str, Any]) -> int:
    """How many pods of a Job have not ended, including those that are ending."""
    status: Mapping[str, Any] = job.get("status") or {}
    return int(status.get("active") or 0) + int(status.get("terminating") or 0)


def timestamp(moment: dt.datetime) -> str:
    """RFC 3339 in whole seconds, as metav1.Time writes it."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_timestamp(text: str) -> dt.datetime:
    """The moment of a metav1.Time."""
    return dt.datetime.fromisoformat(text)


def clip(text: str, limit: int, *, keep_end: bool = False) -> str:
    """``text`` in at most ``limit`` characters. ``keep_end`` is for tracebacks, whose end says more than their beginning."""
    if len(text) <= limit:
        return text
    return f"…{text[-(limit - 1) :]}" if keep_end else f"{text[: limit - 1]}…"
