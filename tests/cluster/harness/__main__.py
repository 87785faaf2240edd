"""The harness by hand: ``python -m tests.cluster.harness debian|deps|up|demo|down``."""

import argparse
import json
import sys
import time

from . import bringup, release, teardown
from .client import Cluster
from .layout import KUBECONFIG, NODES, ROOT
from .shell import HarnessError, NotReady

_DEMO = ROOT / "examples" / "breast-cancer-svc.yaml"
_DEMO_SECONDS = 240


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.harness", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("debian", help="install the Debian packages alone")
    commands.add_parser("deps", help="install and build what the cluster needs (minutes the first time)")
    up = commands.add_parser("up", help="bring the cluster up, with the chart installed")
    up.add_argument("--bare", action="store_true", help="without the chart")
    demo = commands.add_parser("demo", help="apply an example and watch it")
    demo.add_argument("manifest", nargs="?", default=str(_DEMO))
    commands.add_parser("down", help="end it, leaving nothing behind")
    arguments = parser.parse_args()
    started = time.monotonic()
    try:
        if arguments.command == "debian":
            bringup.debian(_say)
        elif arguments.command == "deps":
            bringup.deps(_say)
        elif arguments.command == "up":
            with bringup.lock():
                cluster = bringup.up(_say, keep=True)
                if not arguments.bare:
                    release.install(cluster)
            _print(f"export KUBECONFIG={KUBECONFIG}")
        elif arguments.command == "demo":
            _watch(arguments.manifest)
        else:
            with bringup.lock():
                teardown.down()
                if left := teardown.leftovers():
                    raise HarnessError("left behind:\n" + "\n".join(left))
    except NotReady as error:
        _say(str(error))
        return 2
    except HarnessError as error:
        _say(str(error))
        return 1
    _say(f"{arguments.command}: done in {time.monotonic() - started:.1f} s")
    return 0


def _watch(manifest: str) -> None:
    """Apply a manifest, print the TuningJob's line whenever it changes, and its best parameters at the end."""
    if not KUBECONFIG.exists():
        raise NotReady("no cluster is up. Bring one up with: make cluster-up")
    cluster = Cluster(kubeconfig=KUBECONFIG, nodes=tuple(n.name for n in NODES), operator_image="", worker_image="")
    _print(cluster.kubectl("apply", "-f", manifest).strip())
    name = json.loads(cluster.kubectl("get", "-f", manifest, "--output=json"))["metadata"]["name"]
    shown = ""

    def finished() -> str | None:
        nonlocal shown
        line = cluster.kubectl("get", "tj", name).strip()
        if (ageless := line.rpartition(" ")[0].strip()) != shown:
            shown = ageless
            _print(line)
        conditions = (cluster.get("tj", name) or {}).get("status", {}).get("conditions", [])
        return next(
            (c["type"] for c in conditions if c["type"] in {"Complete", "Failed"} and c["status"] == "True"), None
        )

    try:
        verdict = cluster.wait_for(f"{name} to end", finished, timeout_seconds=_DEMO_SECONDS, namespace="default")
    except AssertionError as error:
        raise HarnessError(str(error)) from error
    if verdict == "Failed":
        raise HarnessError(cluster.kubectl("describe", "tj", name))
    results = cluster.get("configmap", f"{name}-results") or {}
    _print(results.get("data", {}).get("best_params.json", f"there is no ConfigMap {name}-results"))


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
