"""What the hostile tenant has in Kubernetes: TuningJobs of its own, and searches whose pods' tokens it knows."""

import itertools
import json
from collections import deque
from dataclasses import dataclass
from typing import Final

from tests.chaos.kube import TUNINGJOBS, Kube
from tests.chaos.stage import HOSTILE, NAMESPACES
from tests.chaos.witness import Witness
from tests.operator.world import manifest
from tests.waiting import wait_for

EVIL: Final = NAMESPACES[HOSTILE]
MINE: Final = TUNINGJOBS.format(EVIL)
MERGE: Final = "application/merge-patch+json"
# So many TuningJobs stay beside what it does; older ones are deleted.
_MOST_KEPT: Final = 60
_SEARCHES: Final = 3
_OPEN_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Search:
    """One of its own, with the token of its pods."""

    name: str
    uid: str
    token: str


class Holdings:
    """``kube`` is the tenant's own connection."""

    def __init__(self, kube: Kube, witness: Witness) -> None:
        self._kube = kube
        self._witness = witness
        self._numbers = itertools.count()
        self._kept: deque[str] = deque()
        self._searches: deque[Search] = deque()
        self.former: Search | None = None

    def named(self, what: str) -> str:
        return f"{what}-{next(self._numbers)}"

    def ask(self, method: str, path: str, text: bytes | None = None, *, kind: str = "application/json") -> int:
        status, answer = self._kube.ask(method, path, text, kind=kind)
        self._witness.heard_of_kubernetes(f"{method} {path[:200]}", status, answer)
        return status

    def create(self, name: str, text: bytes = b"") -> int:
        """A TuningJob, by default an ordinary one."""
        # else the API server warns of each field that it does not know, in a header each
        status = self.ask("POST", f"{MINE}?fieldValidation=Ignore", text or json.dumps(manifest(name)).encode())
        if status == 201:
            self._kept.append(name)
        while len(self._kept) > _MOST_KEPT:
            self.delete(self._kept.popleft())
        return status

    def delete(self, name: str) -> None:
        self._kube.delete(EVIL, name)

    def search(self) -> Search:
        """One that runs, if nothing that was sent has ended it; another one each time."""
        while len(self._searches) < _SEARCHES:
            self._searches.append(self.open())
        self._searches.rotate()
        return self._searches[0]

    def open(self) -> Search:
        """A new one. However long its own searches wait for the operator: that is not what is asked for."""
        name = self.named("base")
        grid = {"n_estimators": {"range": [1, 2_001]}}
        body = manifest(name, search={"grid": {"parameters": grid}}, limits={"maxFits": 100_000})
        uid = self._kube.create(MINE, body)["metadata"]["uid"]
        wait_for(
            lambda: self._kube.token_of(EVIL, uid) is not None,
            seconds=_OPEN_SECONDS,
            what="a token of the hostile tenant's",
        )
        return Search(name, uid, str(self._kube.token_of(EVIL, uid)))

    def give_up(self, search: Search) -> None:
        self._searches.remove(search)
        self.delete(search.name)
        self.former = search

    def look_around(self) -> None:
        """At all that is in its namespace by now: the operator has written some of it."""
        core = (f"/api/v1/namespaces/{EVIL}/{kind}" for kind in ("secrets", "configmaps", "events", "pods"))
        for path in (MINE, f"/apis/batch/v1/namespaces/{EVIL}/jobs", *core):
            self.ask("GET", path)
