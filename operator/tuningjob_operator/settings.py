"""What the chart tells the operator and the results service, by environment. The one place that reads it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Written by the chart (templates/deployment.yaml), read by both containers of the operator's pod."""

    database_url: str
    data_dir: Path
    results_url: str
    worker_image: str
    worker_pull_policy: str
    max_fits: int
    max_pods: int
    watch_namespaces: tuple[str, ...]
    results_port: int
    liveness_port: int

    @property
    def signing_key_file(self) -> Path:
        """Made by whichever container comes first; tokens of searches are signed with it."""
        return self.data_dir / "signing.key"

    @property
    def artifacts_dir(self) -> Path:
        """Where the results service keeps models and result files; the operator reads the small ones from it."""
        return self.data_dir / "artifacts"


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Raises ValueError for a number that is none."""
    data_dir = Path(environ.get("TUNINGJOB_DATA_DIR", "/data"))
    return Settings(
        database_url=environ.get("TUNINGJOB_DATABASE_URL") or f"sqlite:///{data_dir / 'tuning.db'}",
        data_dir=data_dir,
        results_url=environ.get("TUNINGJOB_RESULTS_URL", "http://localhost:8080"),
        worker_image=environ.get("TUNINGJOB_WORKER_IMAGE", ""),
        worker_pull_policy=environ.get("TUNINGJOB_WORKER_PULL_POLICY", "IfNotPresent"),
        max_fits=int(environ.get("TUNINGJOB_MAX_FITS", "1000000")),
        max_pods=int(environ.get("TUNINGJOB_MAX_PODS", "100")),
        watch_namespaces=tuple(name for name in environ.get("TUNINGJOB_WATCH_NAMESPACES", "").split(",") if name),
        results_port=int(environ.get("TUNINGJOB_RESULTS_PORT", "8080")),
        liveness_port=int(environ.get("TUNINGJOB_LIVENESS_PORT", "8081")),
    )
