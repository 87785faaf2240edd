"""Keys, certificates and kubeconfigs of one run. They live as long as the run directory does."""

import json
from pathlib import Path

from .layout import (
    API_PORT,
    API_SERVICE_ADDRESS,
    CONTROL_PLANE_ADDRESS,
    NODES,
    RUN,
)
from .shell import run

FOLDER = RUN / "pki"
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
_DAYS = "30"


def create() -> None:
    """Make the authority, every certificate, and the kubeconfigs of the administrator and of each node."""
    FOLDER.mkdir(mode=0o700)
    run(
        *("openssl", "req", "-x509", *_NEW_KEY, "-subj", "/CN=tj-ca", "-days", _DAYS),
        *("-keyout", FOLDER / "ca.key", "-out", FOLDER / "ca.crt"),
    )
    _certificate(
        "apiserver",
        "/CN=kube-apiserver",
        f"subjectAltName=IP:{CONTROL_PLANE_ADDRESS},IP:{API_SERVICE_ADDRESS},IP:127.0.0.1,DNS:kubernetes.default.svc",
    )
    _certificate("admin", "/O=system:masters/CN=admin", "extendedKeyUsage=clientAuth")
    _certificate("to-kubelet", "/O=system:masters/CN=apiserver", "extendedKeyUsage=clientAuth")
    for node in NODES:
        names = f"subjectAltName=IP:{node.address},DNS:{node.name}"
        _certificate(node.name, f"/O=system:nodes/CN=system:node:{node.name}", names)
    run("openssl", "genrsa", "-out", FOLDER / "sa.key", "2048")
    run("openssl", "rsa", "-in", FOLDER / "sa.key", "-pubout", "-out", FOLDER / "sa.pub")
    for name in ("admin", *(node.name for node in NODES)):
        _kubeconfig(name)


def kubeconfig(name: str) -> Path:
    """The kubeconfig of the administrator or of a node."""
    return RUN / f"{name}.kubeconfig"


def _certificate(name: str, subject: str, extensions: str) -> None:
    key, request, extension_file = (FOLDER / f"{name}.{kind}" for kind in ("key", "csr", "ext"))
    extension_file.write_text(extensions + "\n")
    run("openssl", "req", *_NEW_KEY, "-keyout", key, "-out", request, "-subj", subject)
    run(
        *("openssl", "x509", "-req", "-in", request, "-out", FOLDER / f"{name}.crt", "-days", _DAYS),
        *("-CA", FOLDER / "ca.crt", "-CAkey", FOLDER / "ca.key", "-CAcreateserial", "-extfile", extension_file),
    )


def _kubeconfig(name: str) -> None:
    server = f"https://{CONTROL_PLANE_ADDRESS}:{API_PORT}"
    user = {"client-certificate": str(FOLDER / f"{name}.crt"), "client-key": str(FOLDER / f"{name}.key")}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tj", "cluster": {"server": server, "certificate-authority": str(FOLDER / "ca.crt")}}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": "tj", "context": {"cluster": "tj", "user": name}}],
        "current-context": "tj",
    }
    path = kubeconfig(name)
    path.touch(mode=0o600)
    path.write_text(json.dumps(document, indent=1))  # JSON is YAML
