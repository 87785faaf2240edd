"""What stands beside the neighbour on its node: nothing, our search, or the same search as people have run it. Pure: bodies.

The search is one that computes by matrix products, so that BLAS has threads of its own where nothing caps them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

Body = dict[str, Any]

SEARCH: Final = "search"
HOSTNAME: Final = "kubernetes.io/hostname"
# Sixteen times the processes that the node has cores: what `n_jobs` is copied from is often a larger machine.
_MANY: Final = 32
_CANDIDATES: Final = 2_000  # more than any block has time for
_SCRIPT: Final = f"""
import numpy
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier

mlp = MLPClassifier((256, 256), max_iter=10, random_state=0)
grid = {{"alpha": numpy.logspace(-6, 0, {_CANDIDATES})}}
GridSearchCV(mlp, grid, cv=5, n_jobs=N_JOBS, verbose=2).fit(*load_digits(return_X_y=True))
"""
# 160 MB of X, of which each process holds the rows that it fits.
_ROWS, _COLUMNS = 200_000, 100
_STREAMING_SCRIPT: Final = f"""
import numpy
from sklearn.datasets import make_regression
from sklearn.linear_model import SGDRegressor
from sklearn.model_selection import GridSearchCV

sgd = SGDRegressor(max_iter=20, tol=None, random_state=0)
X, y = make_regression({_ROWS}, {_COLUMNS}, random_state=0)
GridSearchCV(sgd, {{"alpha": numpy.logspace(-6, 0, {_CANDIDATES})}}, cv=5, n_jobs=N_JOBS, verbose=2).fit(X, y)
"""


@dataclass(frozen=True)
class Place:
    """Where the arms are run: the neighbour's node, the cores that nobody has requested of it, and the worker's image."""

    node: str
    cores_left: float
    image: str


@dataclass(frozen=True)
class Arm:
    """``body`` makes what stands beside the neighbour; None: nothing does."""

    name: str
    body: Callable[[Place], Body] | None = None


def _spec(place: Place, resources: Mapping[str, str], estimator: Body, data: Body, parameters: Body) -> Body:
    return {
        "apiVersion": "tuningjob.dev/v1alpha1",
        "kind": "TuningJob",
        "metadata": {"name": SEARCH},
        "spec": {
            "estimator": estimator,
            "search": {"grid": {"parameters": parameters}},
            "data": data,
            "resources": {"memory": "1Gi", **resources},
            "limits": {"maxFits": 10 * _CANDIDATES},
            "pod": {"nodeSelector": {HOSTNAME: place.node}},
        },
    }


def _tuningjob(place: Place, **resources: str) -> Body:
    mlp = {"hidden_layer_sizes": {"tuple": [256, 256]}, "max_iter": 10, "random_state": 0}
    estimator = {"class": "sklearn.neural_network.MLPClassifier", "params": mlp}
    grid = {"alpha": {"logspace": [-6, 0, _CANDIDATES]}}
    return _spec(place, resources, estimator, {"loader": "sklearn.datasets.load_digits"}, grid)


def _streaming(place: Place) -> Body:
    """A search of one CPU that does little but read: 160 MB again and again, more than any cache holds."""
    estimator = {
        "class": "sklearn.linear_model.SGDRegressor",
        "params": {"max_iter": 20, "tol": None, "random_state": 0},
    }
    made = {"n_samples": _ROWS, "n_features": _COLUMNS, "random_state": 0}
    data = {"function": "sklearn.datasets.make_regression", "params": made}
    return _spec(place, {"cpu": "1", "memory": "2Gi"}, estimator, data, {"alpha": {"logspace": [-6, 0, _CANDIDATES]}})


def _rest(place: Place) -> str:
    """Every core that is left but a tenth of one, in thousandths: other pods come and go."""
    return f"{int(place.cores_left * 1000) - 100}m"


def _bare(place: Place, *, n_jobs: int, requests: Mapping[str, str], script: str = _SCRIPT) -> Body:
    container: Body = {
        "name": SEARCH,
        "image": place.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-uc", script.replace("N_JOBS", str(n_jobs))],
        "env": [{"name": "JOBLIB_TEMP_FOLDER", "value": "/tmp"}],
        "resources": {"requests": dict(requests)},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,  # the script heeds no signal
        "nodeSelector": {HOSTNAME: place.node},
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": SEARCH},
        "spec": {"template": {"spec": pod}},
    }


ALONE: Final = Arm("alone")
ONE_CPU: Final = Arm("a TuningJob of one CPU", lambda place: _tuningjob(place, cpu="1"))
WHOLE_REST: Final = Arm("a TuningJob of all cores that are left", lambda place: _tuningjob(place, cpu=_rest(place)))
YIELDING: Final = Arm(
    "the same, yielding: `cpuRequest: 50m`", lambda place: _tuningjob(place, cpu=_rest(place), cpuRequest="50m")
)
BARE: Final = Arm(
    "a bare Job, `n_jobs=-1`, neither requests nor limits", lambda place: _bare(place, n_jobs=-1, requests={})
)
BARE_REQUESTS: Final = Arm(
    "the same with requests: all cores that are left",
    lambda place: _bare(place, n_jobs=-1, requests={"cpu": _rest(place), "memory": "1Gi"}),
)
BARE_MANY: Final = Arm(
    f"the same with requests and `n_jobs={_MANY}`",
    lambda place: _bare(place, n_jobs=_MANY, requests={"cpu": _rest(place), "memory": "1Gi"}),
)
STREAMING: Final = Arm("a TuningJob of one CPU that streams 160 MB", _streaming)
BARE_STREAMING: Final = Arm(
    "the same by a bare Job, `n_jobs=-1`, neither requests nor limits",
    lambda place: _bare(place, n_jobs=-1, requests={}, script=_STREAMING_SCRIPT),
)
BARE_FILLING: Final = Arm(
    f"the same with `n_jobs={_MANY}`", lambda place: _bare(place, n_jobs=_MANY, requests={}, script=_STREAMING_SCRIPT)
)

SEARCHES: Final = (ALONE, ONE_CPU, WHOLE_REST, YIELDING, BARE, BARE_REQUESTS, BARE_MANY)


@dataclass(frozen=True)
class Condition:
    """What the neighbour is asked: how often, what an answer costs it, and what is set beside it.

    ``node_bytes`` is the memory of its node, where that is bounded. Then each arm is measured from its start, and for
    longer, because it may not last.
    """

    name: str
    rate: float  # requests a second
    milliseconds: float  # of CPU a request
    megabytes: int = 0  # that a request reads through
    arms: tuple[Arm, ...] = SEARCHES
    node_bytes: int | None = None


CONDITIONS: Final = (
    Condition("busy: 60 requests a second of 10 ms, more than twice what the neighbour has requested", 60, 10),
    Condition(
        "calm: 20 requests a second of 5 ms, less than it has requested", 20, 5, arms=(ALONE, ONE_CPU, BARE_REQUESTS)
    ),
    Condition("memory: 20 requests a second that read through 16 MB", 20, 5, 16, (ALONE, ONE_CPU, STREAMING)),
    Condition(
        "full: the same on a node with 3 GiB for all of its pods",
        20,
        5,
        16,
        (ALONE, STREAMING, BARE_STREAMING, BARE_FILLING),
        node_bytes=3 * 2**30,
    ),
)
