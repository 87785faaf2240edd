"""Worker pods as the Job starts them, against the real results service."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.pod.patient import HURRY
from tests.service.server import Service
from tests.warm import Program, warm
from tuningjob.journal.records import UNKNOWN_SPLITS, NewSearch
from tuningjob.manifest import dump_spec, load
from tuningjob.sizing import size_of

SEARCH = "the-search"


class Pods:
    """Pods of one search, which have this ``environment`` beside what the Job gives them; ended with the test."""

    def __init__(self, service: Service, folder: Path, *, search: str = SEARCH) -> None:
        self.service = service
        self.search = search
        self.folder = folder
        self.processes: list[Program | subprocess.Popen[str]] = []
        self._hurry = folder / "hurry"
        self.environment: dict[str, str] = {HURRY: str(self._hurry)}

    def open(self, document: dict[str, Any], *, pods: int = 2) -> None:
        spec = load(document).spec
        size = size_of(spec)
        self.service.journal.open_search(
            NewSearch(
                id=SEARCH, namespace="team", name="job", model_key="job", spec=dump_spec(spec),
                candidates=size.rows, splits=size.splits or UNKNOWN_SPLITS, pods=pods,
            )
        )  # fmt: skip

    def start(
        self, index: int, *, url: str | None = None, module: str = "tuningjob.pod", **environment: str
    ) -> Program:
        """``environment`` is added to what the Job gives."""
        # a session of its own, as the processes of a container have: what kills all of a pod kills nobody else
        program = warm().begin(module, env=self._environment(index, url) | environment, session=True)
        self.processes.append(program)
        return program

    def start_cold(self, index: int, *, url: str) -> "subprocess.Popen[str]":
        """With all that it imports first, as in a container."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tuningjob.pod"],
            env=self._environment(index, url),
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def hurry(self) -> None:
        """The patient fits that are still to come take no time: what they gave time for has been seen."""
        self._hurry.touch()

    def _environment(self, index: int, url: str | None) -> dict[str, str]:
        token = self.folder / "token"
        token.write_text(self.service.token(self.search))
        return os.environ | {
            "TUNINGJOB_RESULTS_URL": url or self.service.url,
            "TUNINGJOB_TOKEN_FILE": str(token),
            "JOB_COMPLETION_INDEX": str(index),
            "TUNINGJOB_N_JOBS": "1",
            "TUNINGJOB_DATA_DIR": str(self.folder),
            **self.environment,
        }

    @staticmethod
    def wait(process: "Program | subprocess.Popen[str]") -> tuple[int, str]:
        _, said = process.communicate(timeout=240)
        return process.wait(0), said

    @staticmethod
    def until(what: str, probe: Any) -> None:
        deadline = time.monotonic() + 240
        while not probe():
            assert time.monotonic() < deadline, f"waited four minutes for {what}"
            time.sleep(0.02)
