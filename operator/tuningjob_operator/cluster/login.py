"""Where the API server is, and the credentials for it: those of the pod's service account, else of a kubeconfig."""

import dataclasses
import os
from pathlib import Path
from typing import Any, Final

import kopf

_SERVICE_HOST: Final = "KUBERNETES_SERVICE_HOST"  # written by the kubelet into every pod
_SERVICE_TOKEN: Final = Path(
    "/var/run/secrets/kubernetes.io/serviceaccount/token"
)  # written by the kubelet too, and again before it expires


def is_in_cluster() -> bool:
    """Whether this process runs in a pod with a service account's token."""
    return _SERVICE_HOST in os.environ and _SERVICE_TOKEN.exists()


def login(*, settings: kopf.OperatorSettings, **_: Any) -> kopf.ConnectionInfo | None:  # noqa: ANN401  kopf's kwargs
    """The login that kopf calls, again whenever its credentials are refused.

    It uses the address, not the name, because a cluster's DNS may be down when it matters; and it avoids kopf's own way over the
    synchronous client with all its models.
    """
    if not is_in_cluster():
        return kopf.login_with_kubeconfig(settings=settings)
    info = kopf.login_with_service_account(settings=settings)
    host, port = os.environ[_SERVICE_HOST], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    host = f"[{host}]" if ":" in host else host
    return None if info is None else dataclasses.replace(info, server=f"https://{host}:{port}")
