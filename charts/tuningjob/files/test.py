"""What `helm test` runs, in a pod of the release's namespace: does a worker's or a person's request arrive, and who is let in?

The standard library alone. The pod's service account has no rights, so the results service must say no to it; to be able to, it
must have asked the API server. Exit 1 and a sentence for the first that is not so.
"""

import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ACCOUNT = Path(os.environ.get("TUNINGJOB_TEST_ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount"))
KUBERNETES = os.environ.get("TUNINGJOB_TEST_KUBERNETES", "https://kubernetes.default.svc")
RESULTS = os.environ["TUNINGJOB_RESULTS_URL"]
RESULTS_CA = os.environ.get("TUNINGJOB_CA_FILE")
# of the results service's own audience; where it has none, the account's
TOKEN = Path(os.environ.get("TUNINGJOB_TOKEN_FILE", ACCOUNT / "token"))
PATIENCE_SECONDS = float(
    os.environ.get("TUNINGJOB_TEST_PATIENCE", "30")
)  # a release may be tested while it still starts


@dataclass(frozen=True)
class Check:
    """A GET, and what it must be answered with: one of the statuses, and ``holds`` in the body."""

    what: str
    url: str
    statuses: tuple[int, ...]
    ca_file: str | None
    token: str = ""
    holds: str = ""

    def problem(self) -> str | None:
        """What is wrong, in a sentence; None if nothing is."""
        try:
            status, body = self._ask()
        except OSError as error:
            return f"{self.url}: must answer, but got {error}"
        if status in self.statuses and self.holds in body:
            return None
        holds = f" with {self.holds} in it" if self.holds else ""
        return f"{self.url}: must answer {' or '.join(map(str, self.statuses))}{holds}, but got {status}: {body[:300]}"

    def _ask(self) -> tuple[int, str]:
        # nothing of the environment's proxies: this is about the way inside the cluster
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if self.url.startswith("https"):
            context = ssl.create_default_context(cafile=self.ca_file)
            handlers.append(urllib.request.HTTPSHandler(context=context))
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        request = urllib.request.Request(self.url, headers=headers)  # noqa: S310  the chart's own URL
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


def checks() -> Iterator[Check]:
    """All of them, in order."""
    token, namespace = ((ACCOUNT / name).read_text() for name in ("token", "namespace"))
    kubernetes_ca = str(ACCOUNT / "ca.crt")
    crd = f"{KUBERNETES}/apis/tuningjob.dev/v1alpha1"
    yield Check("the API server serves TuningJobs", crd, (200,), kubernetes_ca, token, holds='"tuningjobs"')
    yield Check("the results service is ready", f"{RESULTS}/readyz", (200,), RESULTS_CA)
    yield Check("no search is open without its token", f"{RESULTS}/v1/search", (401,), RESULTS_CA)
    # 200: somebody has given every service account the right to read TuningJobs
    models = f"{RESULTS}/v1/namespaces/{namespace}/models"
    yield Check(
        "who asks for models is known by the API server's word", models, (403, 200), RESULTS_CA, TOKEN.read_text()
    )


def main() -> int:
    """The exit code."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    for check in checks():
        while (problem := check.problem()) is not None:
            if time.monotonic() > deadline:
                sys.stdout.write(f"not so: {check.what}. {problem}\n")
                return 1
            time.sleep(1)
        sys.stdout.write(f"{check.what}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
