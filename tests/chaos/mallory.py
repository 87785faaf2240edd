"""The hostile tenant: carries out each attack, with all rights in its own namespace and tokens of searches of its own."""

import base64
import gzip
import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from tests.chaos import attacks, objects
from tests.chaos.attacks import Attack
from tests.chaos.holdings import EVIL, Holdings, Search
from tests.chaos.spoilt import raw, spoilt
from tests.chaos.stage import HONEST, NAMESPACES
from tests.chaos.wire import Answer, Request, Wire, head_of
from tests.chaos.witness import Witness
from tests.service.test_isolation import BODIES
from tuningjob_operator import tokens

GOOD: Final = NAMESPACES[HONEST]
_RESULT: Final[dict[str, Any]] = BODIES["/v1/cells"]["results"][0]


class HostileTenant:
    """``person`` is its Kubernetes token, ``routes`` are all of the service, and ``victims_key`` a model that is not its own.

    Belongs to one thread; what it does at once has ended when a call returns, but for connections that it holds.
    """

    def __init__(
        self,
        holdings: Holdings,
        wire: Wire,
        witness: Witness,
        *,
        person: str,
        routes: list[tuple[str, str]],
        victims_key: str,
    ) -> None:
        self.holdings = holdings
        self._wire = wire
        self._witness = witness
        self._person = person
        self._routes = routes
        self._victims_key = victims_key
        self._ways: dict[type[Attack], Callable[[Any], object]] = {
            attacks.Manifest: lambda attack: objects.write_manifest(holdings, attack),
            attacks.Flood: lambda attack: objects.flood(holdings, attack),
            attacks.Child: lambda attack: objects.place_child(holdings, victims_key, attack),
            attacks.Body: lambda attack: self._heard(self._request(attack)),
            attacks.Burst: lambda attack: self._at_once(self._request(attack.body), attack.count),
            attacks.Worker: lambda attack: self._workers_ways[attack.what](self.holdings.search(), attack.amount),
            attacks.Upload: lambda attack: self._at_once(self._upload(attack), attack.at_once),
            attacks.Raw: self._send_raw,
            attacks.Forgery: self._forge,
            attacks.Person: self._ask_as_a_person,
            attacks.Slow: self._read_slowly,
        }
        self._workers_ways: dict[str, Callable[[Search, int], None]] = {
            "claims": self._claim_for_many,
            "reports with long errors": lambda search, _: self._report(search, "E" * 8_000, times=1),
            "the same report": lambda search, amount: self._report(search, "E", times=1 + amount // 8),
            "reuse": self._reuse,
            "pages": self._read_pages,
            "blocks": self._tell_blocks,
            "ends": self._end,
        }

    def carry_out(self, attack: Attack) -> None:
        with self._witness.noting(attack):
            self._wire.drip()
            self._ways[type(attack)](attack)

    # --- as a worker

    def _heard(self, request: Request) -> Answer:
        return self._noted(request, self._wire.exchange(request))

    def _noted(self, request: Request, answer: Answer) -> Answer:
        if request.is_whole:
            self._witness.heard_of_the_service(request.title, answer.status, answer.text)
        return answer

    def _at_once(self, request: Request, count: int) -> None:
        with ThreadPoolExecutor(count) as threads:
            for answer in threads.map(self._wire.exchange, [request] * count):
                self._noted(request, answer)

    def ask(self, method: str, path: str, token: str, body: bytes = b"") -> Answer:
        return self._heard(Request((head_of(method, path, _headers(token, len(body))), body)))

    def _post(self, search: Search, path: str, body: Any) -> Answer:
        return self.ask("POST", path, search.token, json.dumps(body).encode())

    def _request(self, attack: attacks.Body) -> Request:
        body = spoilt(BODIES[attack.route], attack)
        headers = _headers(self.holdings.search().token, len(body))
        if attack.gzip:
            body = gzip.compress(body)
            headers |= {"Content-Encoding": "gzip", "Content-Length": str(len(body))}
        method = "PUT" if attack.route == "/v1/preflight" else "POST"
        return Request((head_of(method, attack.route, headers), body))

    def _claim_for_many(self, search: Search, amount: int) -> None:
        for index in range(amount):
            body = {"index": index, "slots": 1_024, "claimant": f"c{index}", "memory": 2**40}
            self._post(search, "/v1/claims", body)

    def _report(self, search: Search, error: str, *, times: int) -> None:
        """A thousand cells, of those that it may."""
        answer = self._post(search, "/v1/claims", {"index": 0, "slots": 1_024, "claimant": "a"})
        unit = json.loads(answer.text.partition(b"\r\n\r\n")[2]).get("unit") if answer.status == 200 else None
        cells: list[dict[str, int]] = [] if unit is None else unit["cells"][:1_000]
        results = [{**_RESULT, **cell, "error": error} for cell in cells]
        for _ in range(times):
            self._post(search, "/v1/cells", {"index": 0, "results": results})

    def _reuse(self, search: Search, amount: int) -> None:
        cells = [{"candidate": number, "split": 0, "identity": f"{number:032x}"} for number in range(amount * 25)]
        self._post(search, "/v1/reuse", {"index": 0, "cells": cells})

    def _read_pages(self, search: Search, amount: int) -> None:
        for start in range(amount):
            self.ask("GET", f"/v1/cells?start={start * 1_000}&limit=5000", search.token)

    def _tell_blocks(self, _search: Search, amount: int) -> None:
        """A walk of many and large axes, for a search that has none yet."""
        axes = [{"size": 2**62, "stride": 1}] * 200
        blocks = [{"start": number, "axes": axes} for number in range(amount * 10)]
        search = self.holdings.open()
        self.ask(
            "PUT", "/v1/preflight", search.token, json.dumps({**BODIES["/v1/preflight"], "blocks": blocks}).encode()
        )
        self._claim_for_many(search, 2)
        self.holdings.delete(search.name)

    def _end(self, search: Search, _amount: int) -> None:
        self._post(search, "/v1/complete", BODIES["/v1/complete"])
        self._post(search, "/v1/fail", {"reason": "PlanReady: \x1b[31mall is well"})
        self.holdings.give_up(search)

    def _upload(self, attack: attacks.Upload) -> Request:
        body = b"y" * attack.size
        digests = {"right": hashlib.sha256(body).hexdigest(), "wrong": "0" * 64, "no hex": "\xe9" * 64}
        headers = _headers(self.holdings.search().token, len(body))
        if attack.digest in digests:
            headers["X-Content-Sha256"] = digests[attack.digest]
        if attack.length == "chunked":
            del headers["Content-Length"]
            headers["Transfer-Encoding"] = "chunked"
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
        told = {"too long": len(body) + 1_000, "beyond all": 10**15, "negative": -5}.get(attack.length)
        if told is not None:
            headers["Content-Length"] = str(told)
        head = head_of("PUT", f"/v1/artifacts/{attack.name}", headers)
        if attack.sent < 1_000 or attack.length == "too long":
            return Request((head, body[: len(body) * attack.sent // 1_000]), is_whole=False)
        return Request((head, body))

    # --- as anybody

    def _send_raw(self, attack: attacks.Raw) -> None:
        text, rest = raw(attack, self.holdings.search().token)
        for _ in range(attack.count):
            if not attack.pause:
                self._wire.exchange(Request((text,), is_whole=False))
            else:
                self._wire.begin(text, rest)

    def _read_slowly(self, attack: attacks.Slow) -> None:
        head = head_of("GET", attack.path, _headers(self.holdings.search().token, None))
        for _ in range(attack.count):
            self._wire.begin(head, b"", read=attack.read)

    def _forge(self, attack: attacks.Forgery) -> None:
        method, template = self._routes[attack.route % len(self._routes)]
        ordinary = BODIES.get(template, {})
        body = ordinary if isinstance(ordinary, bytes) else json.dumps(ordinary).encode()
        headers = _headers(self._forged(attack.token), len(body))
        headers["X-Content-Sha256"] = hashlib.sha256(body).hexdigest()
        if attack.token == "none":
            del headers["Authorization"]
        path = self._path(template, GOOD if attack.victim else EVIL)
        head = head_of(method if attack.method == "GET" else attack.method, path, headers)
        if attack.token == "twice":
            head = head.replace(b"\r\n\r\n", b"\r\nAuthorization: Bearer %b\r\n\r\n" % self._person.encode())
        self._heard(Request((head, body)))

    def _forged(self, kind: str) -> str:
        search = self.holdings.search()
        former = self.holdings.former or search
        prefix, payload, signature = search.token.split(".")
        other = base64.urlsafe_b64encode(b'{"search":"00000000-0000-0000-0000-000000000000"}').rstrip(b"=").decode()
        return {
            "of another installation": tokens.issue(tokens.Keys(bytes(32)), search.uid),
            "another payload": f"{prefix}.{other}.{signature}",
            "cut short": search.token[:-1],
            "lengthened": f"{search.token}A",
            "another spelling": f"{prefix}.{payload}=.{signature}",
            "another version": f"tj0.{payload}.{signature}",
            "as long as a header may be": "tj1." + "A" * 30_000,
            "a JWT without a signature": "eyJhbGciOiJub25lIn0.eyJzZWFyY2giOiJhIn0.",
            "an empty signature": f"{prefix}.{payload}.",
            "the person's": self._person,
            "a deleted search's": former.token,
            "bytes": "\xff\xfe\xe9",
        }.get(kind, search.token)

    def _ask_as_a_person(self, attack: attacks.Person) -> None:
        namespace = {"own": EVIL, "victim": GOOD, "nobody's": "kube-system"}.get(attack.namespace, attack.namespace)
        tail = attack.path.format(key=self._victims_key, victim=GOOD)
        body = b"" if attack.text is None else attack.text.written()[:200_000]
        self.ask(attack.method, f"/v1/namespaces/{namespace}{tail}", self._person, body)

    def _path(self, template: str, namespace: str) -> str:
        return template.format(
            namespace=namespace, key=self._victims_key, version=1, name="model.joblib", sha256="0" * 64
        )

    def every_way(self) -> Iterator[tuple[str, str, str]]:
        """Method, path and token of each way to something of the victim's."""
        search = self.holdings.search()
        forged = tokens.issue(tokens.Keys(bytes(32)), search.uid)
        for method, template in self._routes:
            for token in (search.token, self._person, forged):
                yield method, self._path(template, GOOD), token


def _headers(token: str, length: int | None) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {token}", "Connection": "close", "Content-Type": "application/json"}
    return headers if length is None else {**headers, "Content-Length": str(length)}
