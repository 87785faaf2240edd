"""Serves a model that is built from the blessed parameters of a model key, and follows them without a redeploy.

A thread asks the results service for the parameters in use, with the ETag of the ones that it has. Once they are others, it
fits a new pipeline beside the one that answers, and only then lets it take over: each request is answered by one version, whole.
If the service does not answer, or a version cannot be fitted, the one that is there goes on. The last parameters are kept in a
file, so that a restart needs nobody.

    python serve.py --server URL --namespace team --key breast-cancer-svc

    GET  /healthz                          {"version": 3}; 503 until there is a first model
    POST /predict  {"rows": [[…], …]}      {"version": 3, "predictions": […]}
"""

import argparse
import json
import logging
import os
import random
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from tuningjob import from_literals

_log = logging.getLogger("serve")
_MAX_BODY_BYTES: Final = 16 * 2**20
_NOTHING_YET: Final = "No parameters were seen yet: is a version blessed?"
# a pod's own token; the kubelet writes a fresh one before it expires, so it is read each time
_POD_TOKEN: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


def fitted(params: dict[str, Any]) -> Pipeline:
    """The estimator of examples/breast-cancer-svc.yaml with these parameters, on its data. Yours goes here."""
    X, y = load_breast_cancer(return_X_y=True)
    pipeline = Pipeline([("scaler", StandardScaler()), ("svc", SVC(random_state=0))])
    # tuples, NaN, estimators: the answer is JSON in the manifest's literals
    return pipeline.set_params(**from_literals(params)).fit(X, y)


@dataclass(frozen=True)
class Serving:
    """A model and the version of its parameters: replaced together, by one assignment."""

    version: int
    model: Pipeline


class Follower:
    """Keeps ``serving`` at the version in use. One thread calls ``look``; any number read ``serving``."""

    def __init__(self, http: httpx.Client, path: str, token: Callable[[], str], cache: Path) -> None:
        self.serving: Serving | None = None
        self._http = http
        self._path = path
        self._token = token
        self._cache = cache
        self._etag = ""

    def start(self) -> None:
        """Serve what the last process served, if it left word of it."""
        try:
            self._take_over(json.loads(self._cache.read_text(encoding="utf-8")))
        except FileNotFoundError:
            pass
        except Exception as error:  # noqa: BLE001  the service will tell the parameters again
            _log.warning("%s is of no use: %r", self._cache, error)

    def look(self) -> None:
        """Ask once. Whatever goes wrong, the model that is there stays."""
        try:
            headers = {"Authorization": f"Bearer {self._token()}", "If-None-Match": self._etag}
            answer = self._http.get(self._path, headers=headers)
            if answer.status_code == httpx.codes.NOT_MODIFIED:
                return
            if answer.is_error:
                _log.warning("%s is kept: %s %s", self._known(), answer.status_code, answer.text[:300])
                return
            self._etag = answer.headers["ETag"]  # of parameters that cannot be fitted, too: once is enough
            self._take_over(answer.json())
        except Exception as error:  # noqa: BLE001  the old model is better than none, whatever it is
            _log.warning("%s is kept: %r", self._known(), error)

    def _take_over(self, blessed: dict[str, Any]) -> None:
        if self.serving is not None and self.serving.version == blessed["version"]:
            return
        self.serving = Serving(blessed["version"], fitted(blessed["params"]))
        _log.info("%s is in use: %s", self._known(), blessed["params"])
        part = self._cache.with_name(f".{self._cache.name}.part")
        part.write_text(json.dumps(blessed), encoding="utf-8")
        part.replace(self._cache)

    def _known(self) -> str:
        return "nothing" if self.serving is None else f"version {self.serving.version}"


def make_handler(follower: Follower) -> type[BaseHTTPRequestHandler]:
    """Answers from whatever the follower serves when the request comes."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            serving = follower.serving
            if self.path != "/healthz":
                self._answer(404, {"detail": "There is GET /healthz and POST /predict."})
            elif serving is None:
                self._answer(503, {"detail": _NOTHING_YET})
            else:
                self._answer(200, {"version": serving.version})

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if self.path != "/predict" or not length.isdigit() or int(length) > _MAX_BODY_BYTES:
                self.close_connection = True  # the body was not read
                self._answer(
                    400, {"detail": f"There is POST /predict, with at most {_MAX_BODY_BYTES:,} bytes of JSON."}
                )
                return
            body = self.rfile.read(int(length))
            serving = follower.serving
            if serving is None:
                self._answer(503, {"detail": _NOTHING_YET})
                return
            try:
                rows = np.asarray(json.loads(body)["rows"], dtype=float)
                predictions = serving.model.predict(rows)
            except (KeyError, TypeError, ValueError) as error:
                self._answer(422, {"detail": f'The body must be {{"rows": [[number, …], …]}}, but got: {error}'})
                return
            self._answer(200, {"version": serving.version, "predictions": predictions.tolist()})

        def _answer(self, status: int, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
            _log.debug(format, *args)

    return Handler


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", required=True, help="URL of the results service")
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--key", default="breast-cancer-svc", help="model key")
    parser.add_argument("--token-file", type=Path, default=_POD_TOKEN, help="unless TUNINGJOB_TOKEN is set")
    ca_file = os.environ.get("TUNINGJOB_CA_FILE")
    parser.add_argument("--ca-file", default=ca_file, help="who signed the service's certificate [$TUNINGJOB_CA_FILE]")
    parser.add_argument("--cache", type=Path, help="file of the last parameters [KEY.json]")
    parser.add_argument("--port", type=int, default=8080, help="0: any that is free")
    parser.add_argument("--every", type=float, default=30.0, help="seconds between two looks")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)

    def token() -> str:
        return os.environ.get("TUNINGJOB_TOKEN") or asked.token_file.read_text(encoding="utf-8").strip()

    path = f"/v1/namespaces/{quote(asked.namespace, safe='')}/models/{quote(asked.key, safe='')}/params"
    verify = ssl.create_default_context(cafile=asked.ca_file)
    with httpx.Client(base_url=asked.server, verify=verify, timeout=10.0) as http:
        follower = Follower(http, path, token, asked.cache or Path(f"{asked.key}.json"))
        follower.start()

        def follow() -> None:
            while True:
                follower.look()
                # a hundred replicas shall not all ask at once
                threading.Event().wait(asked.every * random.uniform(0.8, 1.2))  # noqa: S311  no secret

        threading.Thread(target=follow, daemon=True).start()
        with ThreadingHTTPServer(("", asked.port), make_handler(follower)) as server:
            _log.info("listening on port %s", server.server_port)
            server.serve_forever()


if __name__ == "__main__":
    main()
