"""`tuningjob` as a user runs it, in a process of its own; and what it comes to."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Ended:
    """What a command came to."""

    returncode: int
    stdout: str
    stderr: str


TUNINGJOB = (sys.executable, "-m", "tuningjob.cli")


def tuningjob(*arguments: object, cwd: Path, **environment: str) -> Ended:
    """``environment`` is added to this process's own."""
    done = subprocess.run(
        [*TUNINGJOB, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def written(document: dict[str, Any], folder: Path) -> Path:
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(document))
    return path
