"""The way to the results service, which has the models."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tuningjob.artifacts.downloads import hold_to_audit
from tuningjob.cluster.access import Access
from tuningjob.errors import ArtifactRefused, ClusterRefused
from tuningjob.manifest.wellknown import ENV_CA_FILE, ENV_SERVER, ENV_TOKEN
from tuningjob.remote.audit import HttpAudit


@dataclass(frozen=True)
class Service:
    """The results service of a cluster, as a person reaches it: at ``url``, else at TUNINGJOB_SERVER.

    ``ca_file``: who signed its certificate, else TUNINGJOB_CA_FILE. ``token``: another one than the kubeconfig's, for the service
    alone, else TUNINGJOB_TOKEN.
    """

    access: Access
    url: str | None = None
    ca_file: Path | None = None
    token: str | None = None

    def fetch(self, key: str, version: int, folder: Path, names: Sequence[str]) -> None:
        """Files of a version, each as the audit says that it is. Raises ClusterRefused, ArtifactRefused."""
        with self._audit() as audit:
            row = audit.version(key, version)
            there = {entry.name: entry for entry in audit.files(row)}
            for name in names:
                if name not in there:
                    raise ArtifactRefused(
                        f"{name}: must be a file of version {version} of {key}, but it is kept no more."
                    )
                hold_to_audit(row, there[name])
                audit.fetch(row, there[name], folder / name)

    def _audit(self) -> HttpAudit:
        url = self.url or os.environ.get(ENV_SERVER)
        if not url:
            raise ClusterRefused(
                "service: must be the URL of the results service, which has the models, but got none. Forward its port by "
                "`kubectl -n tuningjob-system port-forward service/tuningjob-results 8080`, and name it: "
                "Cluster(service='https://localhost:8080', service_ca_file=…)."
            )
        token = self.token or os.environ.get(ENV_TOKEN) or self.access.bearer()
        if not token:
            raise ClusterRefused(
                "service_token: must be given, but got none, and your kubeconfig has no token. "
                "Get one by `kubectl create token SERVICEACCOUNT --audience tuningjob`."
            )
        trusted = self.ca_file or (Path(os.environ[ENV_CA_FILE]) if os.environ.get(ENV_CA_FILE) else None)
        return HttpAudit(url, token, namespace=self.access.namespace, ca_file=trusted)
