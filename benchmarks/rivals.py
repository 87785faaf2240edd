"""Virtual environments for the rivals that cannot share ours, made under build/: `python -m benchmarks.rivals`.

numpy, scipy and pandas are the versions that run here, so that a ratio compares searches and not BLAS libraries.
"""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

ENVIRONMENTS = Path(__file__).parents[1] / "build" / "rivals"
DASK_ML = "dask-ml"
SKLEARN_1_8 = "scikit-learn-1.8"

# The last scikit-learn whose search carries no callbacks' contexts, with the joblib of its time; and the last dask-ml.
_WANTED = {
    SKLEARN_1_8: ["scikit-learn==1.8.0", "joblib==1.5.3"],
    DASK_ML: [
        "dask-ml==2025.1.0",
        "dask==2026.8.0",
        f"scikit-learn=={version('scikit-learn')}",
        f"joblib=={version('joblib')}",
    ],
}
_SAME_AS_HERE = [f"{name}=={version(name)}" for name in ("numpy", "scipy", "pandas")]


def interpreter(environment: str) -> Path:
    """Where that environment's Python is, or would be were it installed."""
    return ENVIRONMENTS / environment / "bin" / "python"


def is_installed(environment: str) -> bool:
    """Whether its installation went through to the end."""
    return _done_mark(environment).exists()


def install(environment: str) -> None:
    """Make the environment anew. Raises CalledProcessError with pip's own words on stderr."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENTS / environment], check=True)
    pip: list[str | Path] = [interpreter(environment), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, *_WANTED[environment], *_SAME_AS_HERE], check=True)
    _done_mark(environment).touch()


def _done_mark(environment: str) -> Path:
    return ENVIRONMENTS / environment / "installed"


def main() -> int:
    """Install what is missing; a rival that cannot be had is named, and the others still are."""
    failed = 0
    for environment in _WANTED:
        if is_installed(environment):
            continue
        print(f"installing {environment} ...")
        try:
            install(environment)
        except subprocess.CalledProcessError as error:
            failed += 1
            print(f"{environment} cannot be installed (pip exited with {error.returncode}); the table will say so")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
