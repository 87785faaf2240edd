"""A tenant's way to the API server: one connection that is kept, and texts that may be no JSON."""

import base64
import http.client
import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

TUNINGJOBS: Final = "/apis/tuningjob.dev/v1alpha1/namespaces/{}/tuningjobs"
_TIMEOUT: Final = 60.0


@dataclass(frozen=True)
class Access:
    """Who asks whom."""

    url: str
    ca_file: str
    token: str


class Kube:
    """Of one user; belongs to one thread."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._context = ssl.create_default_context(cafile=str(Path(access.ca_file)))
        self._connection: http.client.HTTPSConnection | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(
        self, method: str, path: str, text: bytes | None = None, *, kind: str = "application/json"
    ) -> tuple[int, bytes]:
        """The status and the answer."""
        headers = {"Authorization": f"Bearer {self._access.token}", "Content-Type": kind}
        try:
            return self._ask(method, path, text, headers)
        except (
            OSError,
            http.client.HTTPException,
        ):  # the server closes a connection that was idle, or that told too much
            self.close()
            return self._ask(method, path, text, headers)

    def _ask(self, method: str, path: str, text: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        if self._connection is None:
            host = self._access.url.removeprefix("https://")
            self._connection = http.client.HTTPSConnection(host, timeout=_TIMEOUT, context=self._context)
        try:
            self._connection.request(method, path, text, headers)
            response = self._connection.getresponse()
            return response.status, response.read()
        except BaseException:
            self.close()
            raise

    def get(self, path: str) -> dict[str, Any]:
        """An object; {} if it is not there."""
        status, text = self.ask("GET", path)
        return json.loads(text) if status == 200 else {}

    def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        status, text = self.ask("POST", path, json.dumps(body).encode())
        assert status == 201, text
        return json.loads(text)

    def delete(self, namespace: str, name: str) -> None:
        """A TuningJob and its dependents, because there is no garbage collector here."""
        self.ask("DELETE", f"{TUNINGJOBS.format(namespace)}/{name}")
        self.ask("DELETE", f"/apis/batch/v1/namespaces/{namespace}/jobs/{name}?propagationPolicy=Background")
        selected = f"labelSelector=tuningjob.dev%2Fname%3D{name}"
        for kind in ("secrets", "configmaps"):
            self.ask("DELETE", f"/api/v1/namespaces/{namespace}/{kind}?{selected}")

    def token_of(self, namespace: str, uid: str) -> str | None:
        """What the pods of a TuningJob are given; None: not yet."""
        selected = f"labelSelector=tuningjob.dev%2Fuid%3D{uid}"
        found = self.get(f"/api/v1/namespaces/{namespace}/secrets?{selected}").get("items", [])
        return base64.b64decode(found[0]["data"]["token"]).decode() if found else None
