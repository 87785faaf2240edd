"""Servers that npm and pip bring, because they are no Go modules: Azurite and MLflow, each by its version in the cache.

They are no part of a cluster, so ``up`` does not ask for them. A folder is whole once its mark is there: a download that was cut
short is done again from the beginning.
"""

import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .layout import CACHE, ROOT
from .shell import NotReady, run

AZURITE = "3.35.0"
MLFLOW = ROOT / "requirements" / "mlflow.txt"
_MARK = "installed"
_SECONDS = 900


@dataclass(frozen=True)
class Brought:
    """A server: its folder in the cache, what is run there, and what brings it."""

    name: str
    folder: Path
    program: str
    bring: Callable[[Path], None]

    @property
    def is_here(self) -> bool:
        return (self.folder / _MARK).exists()

    def ensure(self) -> Path:
        """Its program, brought first if it is not here; others who ask meanwhile wait. Raises HarnessError."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with (self.folder.parent / f"{self.folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self.is_here:
                shutil.rmtree(self.folder, ignore_errors=True)
                self.bring(self.folder)
                (self.folder / _MARK).touch()
        return self.folder / self.program


def bring_missing(say: Callable[[str], None]) -> None:
    """Bring what is not here: a minute or two."""
    for each in ALL:
        if not each.is_here:
            say(f"bringing {each.name}")
            each.ensure()


def _by_npm(folder: Path) -> None:
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise NotReady("Azurite, the server of Azure's blobs, needs Node and npm, which are not installed")
    words = ("npm", "install", "--prefix", folder, "--no-audit", "--no-fund", f"azurite@{AZURITE}")
    run(*words, timeout_seconds=_SECONDS)


def _by_pip(folder: Path) -> None:
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "venv", folder)
    # compiled as its modules are imported: of most of them nothing ever is
    words = ("-m", "pip", "install", "--quiet", "--no-compile", "--require-hashes", "-r", MLFLOW)
    run(python, *words, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}, timeout_seconds=_SECONDS)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


_AZURITE = Brought("azurite", CACHE / f"azurite-{AZURITE}", "node_modules/azurite/dist/src/blob/main.js", _by_npm)
_MLFLOW = Brought("mlflow", CACHE / f"mlflow-{_digest(MLFLOW)}", "bin/python", _by_pip)
ALL = (_AZURITE, _MLFLOW)


def azurite() -> Path:
    """Azurite's program, for Node. Raises HarnessError."""
    return _AZURITE.ensure()


def mlflow() -> Path:
    """A Python that has MLflow, and what this package needs. Raises HarnessError."""
    return _MLFLOW.ensure()
