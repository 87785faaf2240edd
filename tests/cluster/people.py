"""People of a namespace: service accounts with Kubernetes' own roles, at kubectl and at the command line of tuningjob."""

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.harness.client import Cluster, Manifest
from tests.cluster.harness.layout import RELEASE, SYSTEM_NAMESPACE
from tests.cluster.harness.release import Release
from tests.local.commands import Ended, tuningjob


@dataclass(frozen=True)
class Person:
    """Somebody with a token, who asks the results service at ``server``."""

    cluster: Cluster
    namespace: str
    name: str
    token: str
    server: str

    @property
    def username(self) -> str:
        """As the API server calls them."""
        return f"system:serviceaccount:{self.namespace}:{self.name}"

    def applies(self, document: Manifest) -> None:
        """kubectl apply, with this person's rights."""
        words = ("apply", "--as", self.username, "-f", "-")
        self.cluster.kubectl(*words, namespace=self.namespace, stdin=json.dumps(document))

    def runs(self, *arguments: object, cwd: Path) -> Ended:
        """``tuningjob``, as they would on their laptop."""
        mine = {"TUNINGJOB_SERVER": self.server, "TUNINGJOB_TOKEN": self.token, "KUBECONFIG": os.devnull}
        ca_file = write_authority(self.cluster, cwd / "ca.crt")
        return tuningjob(*arguments, "-n", self.namespace, cwd=cwd, **mine, TUNINGJOB_CA_FILE=str(ca_file or ""))


def person(
    cluster: Cluster, namespace: str, name: str, *, role: str, server: str, audience: str | None = None
) -> Person:
    """A new service account with one of the cluster's roles (view, edit) in the namespace.

    ``audience``: what their token is good for; None: the API server, too.
    """
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
    group = "rbac.authorization.k8s.io"
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    }
    cluster.apply(account, binding, namespace=namespace)
    words = ("create", "token", name, *([] if audience is None else [f"--audience={audience}"]))
    token = cluster.kubectl(*words, namespace=namespace).strip()
    return Person(cluster, namespace, name, token, server)


def kubeconfig_in(cluster: Cluster, namespace: str, file: Path) -> Path:
    """A kubeconfig of the cluster's, whose context names the namespace."""
    told = json.loads(cluster.kubectl("config", "view", "--raw", "--minify", "--flatten", "--output=json"))
    told["contexts"][0]["context"]["namespace"] = namespace
    file.write_text(json.dumps(told), encoding="utf-8")
    return file


def write_authority(cluster: Cluster, file: Path) -> Path | None:
    """Whom to trust as the results service, as the chart's README says that one gets it; None: the chart has no own authority."""
    words = ("get", "configmap", f"{RELEASE}-ca", "--ignore-not-found", "--output=jsonpath={.data.ca\\.crt}")
    certificate = cluster.kubectl(*words, namespace=SYSTEM_NAMESPACE)
    if not certificate:
        return None
    file.write_text(certificate, encoding="utf-8")
    return file


@contextlib.contextmanager
def port_forward(cluster: Cluster, release: Release, *, scheme: str = "https") -> Iterator[str]:
    """`kubectl port-forward` to the results service, as the documentation says it: the service's URL on this machine."""
    words = cluster.command("port-forward", f"service/{release.name}-results", ":8080", namespace=release.namespace)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=sys.stderr, text=True) as forwarding:
        try:
            assert forwarding.stdout is not None
            said = forwarding.stdout.readline()
            found = re.fullmatch(r"Forwarding from 127\.0\.0\.1:(\d+) -> 8080\n", said)
            assert found, f"kubectl port-forward said {said!r} and ended with {forwarding.poll()}"
            yield f"{scheme}://127.0.0.1:{found[1]}"
        finally:
            forwarding.kill()
