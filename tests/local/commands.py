"""`tuningjob` as a user runs it, in a process of its own; and what it comes to."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.warm import Program, warm


@dataclass(frozen=True)
class Ended:
    """What a command came to."""

    returncode: int
    stdout: str
    stderr: str


TUNINGJOB = (sys.executable, "-m", "tuningjob.cli")


def tuningjob(*arguments: object, cwd: Path, **environment: str) -> Ended:
    """``environment`` is added to this process's own."""
    program = begun(*arguments, cwd=cwd, **environment)
    stdout, stderr = program.communicate(timeout=120)
    return Ended(program.wait(0), stdout, stderr)


def begun(*arguments: object, cwd: Path, **environment: str) -> Program:
    return warm().begin("tuningjob.cli", *map(str, arguments), cwd=cwd, env=os.environ | environment)


def begun_in_a_session(*arguments: object, cwd: Path) -> Program:
    """Leads a session of its own, as a shell of a terminal does."""
    return warm().begin("tuningjob.cli", *map(str, arguments), cwd=cwd, session=True)


def written(document: dict[str, Any], folder: Path) -> Path:
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(document))
    return path
