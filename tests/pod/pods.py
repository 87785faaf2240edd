"""Worker pods as the Job starts them, against the real results service."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.service.server import Service
from tuningjob.journal.records import UNKNOWN_SPLITS, NewSearch
from tuningjob.manifest import dump_spec, load
from tuningjob.sizing import size_of

SEARCH = "the-search"


class Pods:
    """Pods of one search; ended with the test."""

    def __init__(self, service: Service, folder: Path) -> None:
        self.service = service
        self.folder = folder
        self.processes: list[subprocess.Popen[str]] = []

    def open(self, document: dict[str, Any], *, pods: int = 2) -> None:
        spec = load(document).spec
        size = size_of(spec)
        self.service.journal.open_search(
            NewSearch(
                id=SEARCH, namespace="team", name="job", model_key="job", spec=dump_spec(spec),
                candidates=size.candidates, splits=size.splits or UNKNOWN_SPLITS, pods=pods,
            )
        )  # fmt: skip

    def start(
        self,
        index: int,
        *,
        url: str | None = None,
        module: str = "tuningjob.pod",
        **environment: str,
    ) -> "subprocess.Popen[str]":
        token = self.folder / "token"
        token.write_text(self.service.token(SEARCH))
        environment = (
            os.environ
            | environment
            | {
                "TUNINGJOB_RESULTS_URL": url or self.service.url,
                "TUNINGJOB_TOKEN_FILE": str(token),
                "JOB_COMPLETION_INDEX": str(index),
                "TUNINGJOB_N_JOBS": environment.get("TUNINGJOB_N_JOBS", "1"),
                "TUNINGJOB_DATA_DIR": str(self.folder),
            }
        )
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            env=environment,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            # a group of its own, as the processes of a container are: what kills all of a pod kills nobody else
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    @staticmethod
    def wait(process: "subprocess.Popen[str]") -> tuple[int, str]:
        _, said = process.communicate(timeout=240)
        return process.returncode, said

    @staticmethod
    def until(what: str, probe: Any) -> None:
        deadline = time.monotonic() + 240
        while not probe():
            assert time.monotonic() < deadline, f"waited four minutes for {what}"
            time.sleep(0.02)
