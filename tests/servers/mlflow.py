"""MLflow's own tracking server, in an environment of its own: it is larger than all that this project needs, and wants other versions."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from tests.cluster.harness import brought
from tests.cluster.harness.layout import ROOT
from tests.cluster.harness.shell import HarnessError
from tests.servers.missing import missing
from tests.servers.ports import free_port
from tests.waiting import wait_for

_SECONDS: Final = 120


def python() -> str:
    """A Python that has MLflow, and what this package needs. Skips or fails where it is not there, and cannot be brought."""
    try:
        return str(brought.mlflow())
    except HarnessError as error:
        missing(f"MLflow's server is not here: {error}")


def environment() -> dict[str, str]:
    """Of that Python, so that it has this package, too, and keeps what it compiles: its thousand modules take seconds each time."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**inherited, "PYTHONPATH": str(ROOT / "worker"), "NO_PROXY": "127.0.0.1"}


@dataclass(frozen=True)
class TrackingServer:
    """A server that is there, and its REST API."""

    url: str

    def ask(self, path: str, **body: Any) -> dict[str, Any]:
        """What it answers: to a GET without a body."""
        asked = httpx.request(
            "POST" if body else "GET",
            f"{self.url}/api/2.0/mlflow/{path}",
            json=body or None,
            trust_env=False,
            timeout=60,
        )
        assert asked.status_code == 200, asked.text
        return dict(asked.json())

    def runs(self, experiment: str, **more: Any) -> list[dict[str, Any]]:
        """The runs of an experiment, by its name."""
        named = f"name = '{experiment}'"
        (found,) = self.ask("experiments/search", max_results=10, filter=named)["experiments"]
        runs = self.ask("runs/search", experiment_ids=[found["experiment_id"]], max_results=100, **more)["runs"]
        return list(runs)


@contextlib.contextmanager
def tracking_server(folder: Path, *, host: str = "127.0.0.1") -> Iterator[TrackingServer]:
    """The server, keeping what it is given below ``folder``; all of its processes are ended at the end."""
    port = free_port()
    command = [python(), "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"]
    command += ["--allowed-hosts", "*", "--backend-store-uri", f"sqlite:///{folder}/m.db"]
    command += ["--artifacts-destination", str(folder / "files")]
    log = folder / "log"
    # its queues of jobs, which nobody here uses, would be left behind in /dev/shm
    env = {**environment(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with log.open("wb") as output:
        server = subprocess.Popen(command, cwd=folder, env=env, stdout=output, stderr=output, start_new_session=True)
    try:
        url = f"http://{host}:{port}"

        def answers() -> bool:
            assert server.poll() is None, log.read_text()
            try:
                return httpx.get(f"{url}/health", trust_env=False).status_code == 200
            except httpx.TransportError:
                return False

        wait_for(answers, seconds=_SECONDS, pause=0.2)
        yield TrackingServer(url)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(_SECONDS)
