"""The command: ``python -m benchmarks.scale --date … [PART …]``, each part by itself if the machine is not quiet for long.

Parts: ``slept`` (10,000 candidates of 1 s, and of 0.1 s, on 16 slots of this machine: ours and the others), ``pods`` and
``million`` (on the cluster of `make cluster-up`); ``page`` measures nothing. What was measured is kept in
benchmarks/results/scale.json, and the page is written from that.
"""

import json
import os
import platform
import subprocess
import sys
import uuid
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.incident.__main__ import worker_image
from benchmarks.scale import pods as on_pods
from benchmarks.scale.page import Many, OnPods, Slept, page
from tests.cluster.harness.client import Cluster, temporary_namespace
from tests.cluster.harness.layout import KUBECONFIG
from tests.servers import postgres

_HERE: Final = Path(__file__).parent
_RESULTS: Final = _HERE.parent / "results"
_MEASURED: Final = _RESULTS / "scale.json"
_PAGE: Final = _RESULTS / "scale.md"
_RAY: Final = _HERE.parents[1] / "build" / "scale-ray"
_SLOTS: Final = 16
_COUNTS: Final = (18, 90)
_FIT_SECONDS: Final = 2.0
_LIMIT_SECONDS: Final = 1_500.0


def _read() -> dict[str, Any]:
    if not _MEASURED.exists():
        return {"slept": [], "pods": [], "many": [], "remarks": []}
    found: dict[str, Any] = json.loads(_MEASURED.read_text(encoding="utf-8"))
    return found


def _write(slept: list[Slept], pods: list[OnPods], many: list[Many], remarks: list[str]) -> None:
    kept = {
        "slept": [asdict(each) for each in slept],
        "pods": [asdict(each) for each in pods],
        "many": [asdict(each) for each in many],
        "remarks": remarks,
    }
    _MEASURED.write_text(f"{json.dumps(kept, indent=1)}\n", encoding="utf-8")
    how = f"`python -m benchmarks.scale`, on {os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}."
    _PAGE.write_text(page(slept, pods, many, remarks, machine=how), encoding="utf-8")


def _ray() -> Path | None:
    """Ray's own environment, made if need be; None where it cannot be had."""
    python = _RAY / "bin" / "python"
    if not (_RAY / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", _RAY], check=True)
        wanted = ["ray[tune]", "scikit-learn"]
        if subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=False).returncode:
            return None
        (_RAY / "installed").touch()
    return python


def _side(side: str, count: int, seconds: float, url: str) -> Slept:
    asked = Slept(side, count, seconds, _SLOTS, None)
    python = _ray() if side == "ray" else Path(sys.executable)
    if python is None:
        return replace(asked, why="its wheel cannot be installed here")
    environment = {
        **os.environ,
        **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")},
        "OPTUNA_URL": url,
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    words = [str(python), str(_HERE / "sides.py"), side, str(count), str(seconds), str(_SLOTS)]
    try:
        done = subprocess.run(
            words, env=environment, capture_output=True, text=True, check=False, timeout=_LIMIT_SECONDS
        )
    except subprocess.TimeoutExpired:
        return replace(asked, why=f"not done after {_LIMIT_SECONDS:.0f} s")
    if done.returncode:
        return replace(asked, why=f"failed: {done.stderr.strip().splitlines()[-1][:200]}")
    return replace(asked, wall_seconds=json.loads(done.stdout.strip().splitlines()[-1])["seconds"])


def _sleep(sides: tuple[str, ...], count: int, seconds: float, date: str) -> list[Slept]:
    found: list[Slept] = []
    with postgres.running() as server:
        url = server.url(server.create_database()).replace("postgresql://", "postgresql+psycopg://")
        for side in sides:
            found.append(replace(_side(side, count, seconds, url), date=date))
            click.echo(str(found[-1]))
    return found


def _on_pods(counts: tuple[int, ...], date: str) -> list[OnPods]:
    cluster = Cluster(kubeconfig=KUBECONFIG, nodes=(), operator_image="", worker_image="")
    found: list[OnPods] = []
    with temporary_namespace(cluster, f"scale-{uuid.uuid4().hex[:6]}") as namespace:
        for count in counts:
            both = on_pods.measure(cluster, namespace, worker_image(cluster), count, _FIT_SECONDS)
            found += [replace(each, date=date) for each in both]
            click.echo("\n".join(map(str, both)))
    return found


def _million(date: str) -> Many:
    cluster = Cluster(kubeconfig=KUBECONFIG, nodes=(), operator_image="", worker_image="")
    with temporary_namespace(cluster, f"scale-{uuid.uuid4().hex[:6]}") as namespace:
        found = replace(on_pods.measure_million(cluster, namespace), date=date)
        click.echo(str(found))
        return found


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("parts", nargs=-1, type=click.Choice(["slept", "pods", "million", "page"]))
@click.option("--side", "sides", multiple=True, default=("ours", "scikit-learn", "optuna", "ray"))
@click.option(
    "--count",
    "counts",
    multiple=True,
    type=int,
    help="Candidates; by default 10,000 that sleep, and 18 and 90 on pods.",
)
@click.option(
    "--seconds", multiple=True, type=float, default=(1.0, 0.1), help="How long a candidate sleeps on one machine."
)
@click.option("--remark", "remarks", multiple=True, help="What the page is to say at its end.")
@click.option("--date", default="")
def main(
    *,
    parts: tuple[str, ...],
    sides: tuple[str, ...],
    counts: tuple[int, ...],
    seconds: tuple[float, ...],
    remarks: tuple[str, ...],
    date: str,
) -> None:
    """Measure, keep it, and write benchmarks/results/scale.md."""
    known = _read()
    slept = [Slept(**each) for each in known["slept"]]
    pods = [OnPods(**each) for each in known["pods"]]
    many = [Many(**each) for each in known["many"]]
    if "slept" in parts or not parts:
        for each in seconds:
            for count in counts or (10_000,):
                fresh = _sleep(sides, count, each, date)
                keys = {(one.side, one.count, one.seconds) for one in fresh}
                slept = [one for one in slept if (one.side, one.count, one.seconds) not in keys] + fresh
                _write(slept, pods, many, known["remarks"])
    if "pods" in parts or not parts:
        of_pods = _on_pods(counts or _COUNTS, date)
        there = {one.count for one in of_pods}
        pods = [one for one in pods if one.count not in there] + of_pods
        _write(slept, pods, many, known["remarks"])
    if "million" in parts or not parts:
        many = [_million(date)]
    _write(slept, pods, many, [*remarks] or known["remarks"])


if __name__ == "__main__":
    main()
