"""What a hostile tenant may come up with, one input each: data that can be drawn, printed and carried out again.

``HostileTenant`` (mallory.py) knows how.
"""

from dataclasses import dataclass
from typing import Final

from hypothesis import strategies as st

from tests.chaos.texts import TEXTS, Text
from tests.service.test_isolation import BODIES

# Where a manifest takes something: the path of a field whose value is replaced.
PLACES: Final = (
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "spec",
    "spec.estimator",
    "spec.estimator.class",
    "spec.estimator.params",
    "spec.estimator.params.class_weight",
    "spec.estimator.pipeline",
    "spec.search",
    "spec.search.grid.parameters",
    "spec.search.grid.parameters.C",
    "spec.search.random",
    "spec.crossValidation.folds",
    "spec.scoring",
    "spec.data",
    "spec.data.path",
    "spec.data.loaderParams",
    "spec.resources",
    "spec.parallelism",
    "spec.pod",
    "spec.pod.env",
    "spec.pod.tolerations",
    "spec.limits",
    "spec.modelKey",
    "spec.image",
    "spec.unknown",
    "status",
)
FOLLOWS: Final = (
    "nothing",
    "delete at once",
    "create again",
    "delete and create again",
    "suspend and resume",
    "cancel",
    "scale",
    "change what is frozen",
    "annotate again and again",
)


@dataclass(frozen=True)
class Manifest:
    """A TuningJob with ``text`` in the place of a field, and what is done to it next."""

    place: str
    text: Text
    follow: str


@dataclass(frozen=True)
class Flood:
    """So many ordinary TuningJobs at once."""

    count: int


@dataclass(frozen=True)
class Child:
    """An object that looks as the operator's own do, or stands where one of them is to be."""

    kind: str
    named_after: str
    size: int
    text: Text


@dataclass(frozen=True)
class Body:
    """A worker's request: ``text`` in the place of one value of an ordinary body, or of all of it (no ``at``)."""

    route: str
    at: int | None
    text: Text
    gzip: bool = False


@dataclass(frozen=True)
class Worker:
    """A worker that keeps to the protocol, and makes the most of it."""

    what: str
    amount: int


@dataclass(frozen=True)
class Upload:
    """A file: whose digest or length may be wrong, that may end before its end, and come several times at once."""

    name: str
    size: int
    digest: str
    length: str
    sent: int  # per mille
    at_once: int


@dataclass(frozen=True)
class Raw:
    """Bytes on a connection that no client would send; ``pause``: the connection stays, and goes on a byte at a time."""

    kind: str
    size: int
    count: int
    pause: bool


@dataclass(frozen=True)
class Forgery:
    """A request of any route with a token that should not open it."""

    token: str
    method: str
    route: int
    victim: bool


@dataclass(frozen=True)
class Person:
    """A person's request, with the hostile tenant's own Kubernetes token."""

    method: str
    namespace: str
    path: str
    text: Text | None


@dataclass(frozen=True)
class Slow:
    """An answer that is asked for and not read, or not to its end."""

    path: str
    count: int
    read: int


@dataclass(frozen=True)
class Burst:
    """The same, so many times at once."""

    body: Body
    count: int


Attack = Manifest | Flood | Child | Body | Worker | Upload | Raw | Forgery | Person | Slow | Burst

WORKER_ROUTES: Final = sorted(path for path, body in BODIES.items() if isinstance(body, dict) and "{" not in path)
FORGERIES: Final = (
    "none",
    "of another installation",
    "another payload",
    "cut short",
    "lengthened",
    "another spelling",
    "another version",
    "as long as a header may be",
    "a JWT without a signature",
    "an empty signature",
    "the person's",
    "another search's",
    "a deleted search's",
    "twice",
    "bytes",
)
RAW_KINDS: Final = (
    "half a head",
    "a long head",
    "many headers",
    "nothing",
    "half a body",
    "a body longer than told",
    "two lengths",
    "chunked and a length",
    "chunks without end",
    "a chunk of a wrong size",
    "pipelined",
    "no HTTP",
    "TLS",
    "an upgrade",
    "an absolute address",
    "NUL in a path",
    "a long path",
    "expect and wait",
)
PERSONS_PATHS: Final = (
    "",
    "/models",
    "/models/{key}",
    "/models/{key}/versions",
    "/models/{key}/versions/1",
    "/models/{key}/versions/1/artifacts",
    "/models/{key}/versions/1/artifacts/model.joblib",
    "/models/{key}/versions/1/artifacts/..%2f..%2ftuning.db",
    "/models/{key}/versions/%00",
    "/models/{key}/params",
    "/models/{key}/blessings",
    "/models/{key}/bless",
    "/models/{key}/rollback",
    "/models/..%2f..%2f{victim}%2fmodels",
    "/../{victim}/models",
    "/models/{key}/versions?after=-1",
    "/models/{key}/versions?limit=99999999999999999999",
    "/models/%f0%9f%92%a9/params",
)
_MANIFESTS: Final = st.builds(
    Manifest, place=st.sampled_from(PLACES), text=TEXTS, follow=st.sampled_from(("nothing", *FOLLOWS))
)
_CHILDREN: Final = st.builds(
    Child,
    kind=st.sampled_from(["jobs", "pods", "configmaps", "secrets", "events"]),
    named_after=st.sampled_from(["a search of ours", "one to come", "the victim's"]),
    size=st.sampled_from([0, 1_000, 200_000, 900_000]),
    text=TEXTS,
)
_BODIES: Final = st.builds(
    Body,
    route=st.sampled_from(WORKER_ROUTES),
    at=st.none() | st.integers(0, 30),
    text=TEXTS,
    gzip=st.sampled_from([False, False, False, True]),
)
_WORKERS: Final = st.builds(
    Worker,
    what=st.sampled_from(["claims", "reports with long errors", "the same report", "reuse", "pages", "blocks", "ends"]),
    amount=st.integers(1, 40),
)
_UPLOADS: Final = st.builds(
    Upload,
    name=st.sampled_from(
        ["model.joblib", "cv_results.csv", "best_params.json", "artifacts.json", "..%2ftuning.db", "x" * 300, "%00"]
    ),
    size=st.sampled_from([0, 1, 65_536, 1_000_000, 12_000_000]),
    digest=st.sampled_from(["right", "right", "wrong", "none", "no hex"]),
    length=st.sampled_from(["right", "right", "chunked", "too long", "beyond all", "negative"]),
    sent=st.sampled_from([1_000, 1_000, 1_000, 0, 1, 500, 999]),
    at_once=st.sampled_from([1, 1, 1, 2, 8, 12]),
)
_RAWS: Final = st.builds(
    Raw,
    kind=st.sampled_from(RAW_KINDS),
    size=st.sampled_from([1, 1_000, 70_000, 3_000_000]),
    count=st.sampled_from([1, 1, 3, 30]),
    pause=st.booleans(),
)
_FORGERIES: Final = st.builds(
    Forgery,
    token=st.sampled_from(FORGERIES),
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"]),
    route=st.integers(0, 40),
    victim=st.booleans(),
)
_PERSONS: Final = st.builds(
    Person,
    method=st.sampled_from(["GET", "GET", "POST", "PUT", "HEAD"]),
    namespace=st.sampled_from(["own", "victim", "nobody's", "%2e%2e", "x" * 300]),
    path=st.sampled_from(PERSONS_PATHS),
    text=st.none() | TEXTS,
)
_SLOWS: Final = st.builds(
    Slow,
    path=st.sampled_from(["/v1/cells", "/v1/search", "/metrics", "/openapi.json", "/v1/cells?limit=1"]),
    count=st.sampled_from([1, 5, 25]),
    read=st.sampled_from([0, 1, 10_000]),
)
_BURSTS: Final = st.builds(Burst, body=_BODIES, count=st.sampled_from([2, 8, 24]))
# The first ones are drawn more often.
_OFTEN: Final[list[st.SearchStrategy[Attack]]] = [_MANIFESTS, _BODIES]
_NOW_AND_THEN: Final[list[st.SearchStrategy[Attack]]] = [_UPLOADS, _RAWS, _FORGERIES]
_SELDOM: Final[list[st.SearchStrategy[Attack]]] = [
    st.builds(Flood, count=st.sampled_from([2, 10, 30])),
    _CHILDREN,
    _WORKERS,
    _PERSONS,
    _SLOWS,
    _BURSTS,
]
ATTACKS: Final = st.sampled_from(_OFTEN * 5 + _NOW_AND_THEN * 2 + _SELDOM).flatmap(lambda chosen: chosen)
