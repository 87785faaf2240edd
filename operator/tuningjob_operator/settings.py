"""The settings that the chart gives the operator and the results service, by environment.

The API server's address is not among them: Kubernetes writes it into every pod, and ``cluster.login`` reads it there. How people
are recognised (the audience, a reviewer's token) is read in ``service.identity``, because the service alone needs that.
"""

import datetime as dt
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from tuningjob.manifest.quantity import parse_quantity
from tuningjob_operator.ceilings import Bounds, Ceilings, Lifetimes
from tuningjob_operator.logs import LEVELS


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings, which the chart (templates/deployment.yaml) writes and both containers of the operator's pod read."""

    database_url: str
    data_dir: Path
    results_url: str
    worker_image: str
    worker_pull_policy: str
    max_fits: int
    max_pods: int
    # of one search: pods × what each pod gets; None: no ceiling
    max_cpu: Decimal | None
    max_memory: Decimal | None
    placement: Ceilings
    lifetimes: Lifetimes
    # how many TuningJobs are looked after at a time
    bounds: Bounds
    # whether a pod that is larger than every node is refused
    checks_nodes: bool
    # whether the chart's admission policy or the administrator ensures that a manifest names only Secrets, claims and service
    # accounts that its author could use in a pod anyway
    trusts_references: bool
    watch_namespaces: tuple[str, ...]
    # how often everything is listed anew, even if the watches have missed nothing
    resync_seconds: float
    results_port: int
    liveness_port: int
    metrics_port: int
    # where files of finished searches are kept: file:///…, s3://bucket/prefix or gs://bucket/prefix
    artifacts_url: str
    # how many bytes the files of one search may have together; 0: any number
    max_artifact_bytes: int
    # the same for one namespace, or the percentage of the volume that they are on
    max_namespace_bytes: int
    max_namespace_percent: int
    max_data_bytes: int
    max_data_percent: int
    # for how long the cells of a deleted search may still be reused
    retention: dt.timedelta
    # has ca.crt, and for the results service tls.crt and tls.key, or ca.key to make these with; None: plain HTTP
    tls_dir: Path | None
    # whether the chart's admission policies ensure that the annotation tuningjob.dev/created-by is true
    records_creators: bool
    # which release this is (namespace/name), and which of its pods, so that two never work on one TuningJob (lease.py); empty: no
    # other one exists
    release: str
    pod_name: str
    # where releases that watch all namespaces have the Lease by which one of them works
    lease_namespace: str
    # the mounted Secret with the keys that tokens of searches are signed with; None: one key, on the volume
    signing_key_dir: Path | None
    # tokens.Keys.ids of those keys, once they are read
    key_ids: tuple[str, ...] = ()
    # the content of ca_file, once it is read
    ca: bytes | None = None
    # whether these keys include the one of releases whose Secrets named no key
    takes_old_tokens: bool = False
    # the names in the results service's own certificates, and how long each is good; no names: tls.crt is made elsewhere
    tls_names: tuple[str, ...] = ()
    tls_life: dt.timedelta = dt.timedelta(days=30)
    # where people open the results service's pages; empty: not set
    pages_url: str = ""
    # the least level that is logged, one of logs.LEVELS
    log_level: str = "info"

    @property
    def signing_key_file(self) -> Path:
        """The signing key of an installation without a Secret for it, and of releases whose chart made none."""
        return self.data_dir / "signing.key"

    @property
    def scratch_dir(self) -> Path:
        """Where the results service, and nothing else, collects files on their way to a bucket."""
        return self.data_dir / "uploads"

    @property
    def own_results_url(self) -> str:
        """The URL of the results service's probe, on this host because it runs in the same pod."""
        return f"{'http' if self.tls_dir is None else 'https'}://127.0.0.1:{self.results_port}/readyz"

    @property
    def secret_ids(self) -> tuple[str, ...]:
        """The ids in the names of searches' Secrets: each follows from the token's key and the authority to trust.

        There are 8 hex digits for each key that is accepted, the current one's first.
        """
        if self.ca is None:
            return self.key_ids
        return tuple(
            hashlib.sha256(b"%b\0%b" % (key_id.encode(), self.ca)).hexdigest()[: len(key_id)] for key_id in self.key_ids
        )

    @property
    def ca_file(self) -> Path | None:
        """The authority that worker pods are to trust as the signer of the results service's certificate; None: it has none."""
        return None if self.tls_dir is None else self.tls_dir / "ca.crt"


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings from the environment. Raises ValueError for a number or a quantity that is none."""
    data_dir = Path(environ.get("TUNINGJOB_DATA_DIR", "/data"))
    tls_dir = environ.get("TUNINGJOB_TLS_DIR")
    signing_key_dir = environ.get("TUNINGJOB_SIGNING_KEY_DIR")
    namespace_bytes, namespace_percent = _share(environ, "TUNINGJOB_MAX_NAMESPACE_BYTES")
    data_bytes, data_percent = _share(environ, "TUNINGJOB_MAX_DATA_BYTES")
    return Settings(
        database_url=environ.get("TUNINGJOB_DATABASE_URL") or f"sqlite:///{data_dir / 'tuning.db'}",
        data_dir=data_dir,
        results_url=environ.get("TUNINGJOB_RESULTS_URL", "http://localhost:8080"),
        worker_image=environ.get("TUNINGJOB_WORKER_IMAGE", ""),
        worker_pull_policy=environ.get("TUNINGJOB_WORKER_PULL_POLICY", "IfNotPresent"),
        max_fits=int(environ.get("TUNINGJOB_MAX_FITS", "1000000")),
        max_pods=int(environ.get("TUNINGJOB_MAX_PODS", "100")),
        max_cpu=_quantity(environ.get("TUNINGJOB_MAX_CPU", "")),
        max_memory=_quantity(environ.get("TUNINGJOB_MAX_MEMORY", "")),
        placement=Ceilings(
            priority_classes=_list(environ.get("TUNINGJOB_PRIORITY_CLASSES", "")),
            taints=_list(environ.get("TUNINGJOB_TAINTS", "*")),
            node_labels=_list(environ.get("TUNINGJOB_NODE_LABELS", "*")),
            images=_list(environ.get("TUNINGJOB_IMAGES", "")),
            disk_bytes=_quantity(environ.get("TUNINGJOB_MAX_DISK", "")),
            queue_required=environ.get("TUNINGJOB_QUEUE_REQUIRED", "") == "true",
            default_cpu_request_percent=int(environ.get("TUNINGJOB_DEFAULT_CPU_REQUEST_PERCENT", "100")),
            least_cpu_request_percent=int(environ.get("TUNINGJOB_MIN_CPU_REQUEST_PERCENT", "0")),
        ),
        lifetimes=Lifetimes(
            default_seconds=_seconds(environ.get("TUNINGJOB_DEFAULT_TTL_SECONDS", "")),
            most_seconds=_seconds(environ.get("TUNINGJOB_MAX_TTL_SECONDS", "")),
        ),
        bounds=Bounds(
            in_namespace=int(environ.get("TUNINGJOB_MAX_TUNINGJOBS_PER_NAMESPACE", "1000")),
            in_all=int(environ.get("TUNINGJOB_MAX_TUNINGJOBS", "4000")),
        ),
        checks_nodes=environ.get("TUNINGJOB_CHECK_NODES", "") == "true",
        trusts_references=environ.get("TUNINGJOB_REFERENCES", "refuse") == "allow",
        watch_namespaces=_list(environ.get("TUNINGJOB_WATCH_NAMESPACES", "")),
        resync_seconds=float(environ.get("TUNINGJOB_RESYNC_SECONDS", "300")),
        results_port=int(environ.get("TUNINGJOB_RESULTS_PORT", "8080")),
        liveness_port=int(environ.get("TUNINGJOB_LIVENESS_PORT", "8081")),
        metrics_port=int(environ.get("TUNINGJOB_METRICS_PORT", "8082")),
        artifacts_url=environ.get("TUNINGJOB_ARTIFACTS_URL") or (data_dir / "artifacts").absolute().as_uri(),
        max_artifact_bytes=int(_quantity(environ.get("TUNINGJOB_MAX_ARTIFACT_BYTES", "")) or 0),
        max_namespace_bytes=namespace_bytes,
        max_namespace_percent=namespace_percent,
        max_data_bytes=data_bytes,
        max_data_percent=data_percent,
        retention=dt.timedelta(days=float(environ.get("TUNINGJOB_RETENTION_DAYS", "30"))),
        tls_dir=Path(tls_dir) if tls_dir else None,
        records_creators=environ.get("TUNINGJOB_RECORD_CREATORS", "") == "true",
        pages_url=environ.get("TUNINGJOB_PAGES_URL", "").rstrip("/"),
        log_level=_level(environ.get("TUNINGJOB_LOG_LEVEL", "info")),
        release=environ.get("TUNINGJOB_RELEASE", ""),
        pod_name=environ.get("TUNINGJOB_POD_NAME", ""),
        lease_namespace=environ.get("TUNINGJOB_LEASE_NAMESPACE", "kube-system"),
        signing_key_dir=Path(signing_key_dir) if signing_key_dir else None,
        tls_names=_list(environ.get("TUNINGJOB_TLS_NAMES", "")),
        tls_life=dt.timedelta(days=float(environ.get("TUNINGJOB_TLS_DAYS", "30"))),
    )


def _list(text: str) -> tuple[str, ...]:
    return tuple(each for each in text.split(",") if each)


def _level(text: str) -> str:
    if text not in LEVELS:
        raise ValueError(f"TUNINGJOB_LOG_LEVEL: must be one of {', '.join(LEVELS)}, but got {text!r}")
    return text


def _share(environ: Mapping[str, str], name: str) -> tuple[int, int]:
    """A share in bytes, and one in percent of the volume; at most one of them is not 0."""
    text = environ.get(name, "")
    number, percent, rest = text.partition("%")
    if not percent:
        return int(_quantity(text) or 0), 0
    if rest or not number.isdecimal() or not 0 < int(number) <= 100:
        raise ValueError(f"{name}: must be a quantity or of 1% to 100%, but got {text!r}")
    return 0, int(number)


def _seconds(text: str) -> int | None:
    return int(text) if text else None


def _quantity(text: str) -> Decimal | None:
    return parse_quantity(text) if text else None
