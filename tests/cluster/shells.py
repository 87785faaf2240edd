"""Somebody at a shell, with the cluster's kubectl and helm, and with what this project installs."""

import os
import subprocess
import sys
from pathlib import Path

from tests.cluster.harness import binaries
from tests.cluster.harness.client import Cluster


def types(cluster: Cluster, folder: Path, *commands: str, namespace: str = "") -> str:
    """Type this in a folder; a variable of one command is there in the next. Returns what was printed.

    ``namespace`` is what commands mean that name none.
    """
    programs = {str(binaries.path(name).parent) for name in ("kubectl", "helm")} | {str(Path(sys.executable).parent)}
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(cluster.kubeconfig.read_text(encoding="utf-8"), encoding="utf-8")
    environment = {
        "PATH": ":".join([*programs, os.environ["PATH"]]),
        "KUBECONFIG": str(kubeconfig),
        "KUBECACHEDIR": str(folder / "cache"),
    }
    before = (f"kubectl config set-context --current --namespace={namespace} >/dev/null",) if namespace else ()
    words = ["bash", "-exo", "pipefail", "-c", "\n".join([*before, *commands])]
    done = subprocess.run(
        words, cwd=folder, env=environment, check=True, timeout=300, stdout=subprocess.PIPE, text=True
    )
    return done.stdout
