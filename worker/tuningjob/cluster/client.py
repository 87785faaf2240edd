"""``tuningjob.Cluster``: runs a search that is written in Python on a cluster."""

import hashlib
import json
import sys
from collections.abc import Mapping
from contextvars import Token
from pathlib import Path
from typing import Any, Self

import numpy as np

from tuningjob.aliases import Anything, Matrix, Target
from tuningjob.cluster.access import Access, Login
from tuningjob.cluster.display import progress_display
from tuningjob.cluster.environment import check_environment, check_kernels, is_beside, named_packages
from tuningjob.cluster.run import Run
from tuningjob.cluster.saying import say
from tuningjob.cluster.service import RELEASE, Service
from tuningjob.elsewhere import ELSEWHERE
from tuningjob.errors import ClusterRefused, ManifestRefused, Problem, TuningJobError
from tuningjob.manifest import dump_spec, load
from tuningjob.manifest.canonical import canonical, read_file
from tuningjob.manifest.data import Data
from tuningjob.manifest.literals import shown
from tuningjob.manifest.live import frozen_changes
from tuningjob.manifest.wellknown import MAX_NAME_LENGTH
from tuningjob.protocol.environment import WorkerEnvironment

_DIGEST_LETTERS = 8
_NAME = "search"


class Cluster:
    """A namespace of a cluster that has the operator, with the rights of a kubeconfig.

    ``namespace``: the context's own by default. ``pods``, ``cpu``, ``cpu_request``, ``memory``, ``image``, ``pod`` and
    ``model_key`` hold for each submitted search whose manifest does not set them. ``pods`` is the most pods, and each has the
    given resources. ``cpu`` is how many fits run in a pod at once, and ``cpu_request``, if it is less, the CPU that a pod keeps
    when others need the cores. ``pod`` is what pods need besides, as in ``spec.pod``, such as the credentials of a bucket:
    ``{"env": [{"name": "AWS_ACCESS_KEY_ID", "secret": {"name": "bucket", "key": "id"}}]}``. ``model_key``: the key under which
    the versions of the model are counted; by default the name of each search. ``code``: the folder of your own modules; by
    default those that this process has loaded from below the working directory, if the search names one of them; False: none.

    Within ``with Cluster(…):``, ``search.fit(X, y)`` of this package's searches runs on the cluster.

    You authenticate by a ``context`` of ``kubeconfig`` (by default the current one, as kubectl finds it; in a pod its service
    account), or by ``server``, ``token`` and ``ca_file``. Data go to the results service and models come from it: at the URL
    ``service``, or through the API server, like `kubectl port-forward`, to ``release`` (NAMESPACE/NAME of the installed chart).
    ``service_ca_file`` is the CA that signed its certificate. If your kubeconfig has a certificate and no token, give a token by
    ``service_token``, or name a ``service_account`` of the namespace, for which a token is requested.

    Raises ClusterRefused for a kubeconfig that cannot be used, ImportError without the extra ``cluster``.
    """

    def __init__(
        self,
        namespace: str | None = None,
        *,
        pods: int | None = None,
        cpu: int | str | None = None,
        cpu_request: int | str | None = None,
        memory: str | None = None,
        image: str | None = None,
        pod: Mapping[str, Any] | None = None,
        model_key: str | None = None,
        code: str | Path | bool | None = None,
        context: str | None = None,
        kubeconfig: str | Path | None = None,
        server: str | None = None,
        token: str | None = None,
        ca_file: str | Path | None = None,
        service: str | None = None,
        service_ca_file: str | Path | None = None,
        service_token: str | None = None,
        service_account: str | None = None,
        release: str = RELEASE,
    ) -> None:
        login = Login(context, _path(kubeconfig), server, token, _path(ca_file))
        self._access = Access(login, namespace)
        ca = _path(service_ca_file)
        self._service = Service(self._access, service, ca, service_token, account=service_account, release=release)
        self._settings = {"parallelism": pods, "image": image, "pod": pod, "modelKey": model_key}
        self._resources = {"cpu": cpu, "cpuRequest": cpu_request, "memory": memory}
        self._code = code
        self._entered: list[Token[Any]] = []

    @property
    def namespace(self) -> str:
        """The namespace of its searches."""
        return self._access.namespace

    def __repr__(self) -> str:
        return f"Cluster({self.namespace!r}, server={self._access.host!r})"

    def submit(
        self,
        search: Anything,
        X: Matrix = None,
        y: Target = None,
        *,
        data: Mapping[str, Any] | None = None,
        groups: Anything = None,
        name: str | None = None,
        **fit_params: Anything,
    ) -> Run:
        """Begin a search: a GridSearchCV or RandomizedSearchCV object with X and y or with ``data`` in the cluster, or a
        manifest.

        X and y, groups, and weights by the name that ``fit`` has for them, are sent unless they are there: arrays, frames and
        series of pandas or polars, sparse matrices, lists of texts. ``data`` is ``spec.data`` as pods see it: ``{"loader": …}``,
        ``{"path": …, "persistentVolumeClaim": …}``, ``{"path": …, "configMap": …}``. It may also be given as X, and so may the
        URL of a file: ``submit(search, "s3://bucket/churn.parquet", "churned")``. y, groups and weights are then names of
        columns. A manifest is a document, or the path of its file. With a path, a data file that the manifest names without a
        volume is sent, too, and so are the modules beside it if it names one of them. ``name``: the TuningJob's name; by default
        it is computed from the content, so that the same search again is the same run. Nothing is pickled: what a manifest
        cannot say is refused, with the path to it and what to do.

        Raises ManifestRefused with every problem, ClusterRefused with the API server's reason (or if another search has
        the name), ClusterUnavailable.
        """
        if X is not None:
            return self._submit_given(search, X, y, {"groups": groups, **fit_params}, data=data, name=name)
        if fit_params or y is not None:
            raise ManifestRefused([Problem("X", "given beside y and what else fit is given", "none")])
        if callable(getattr(search, "get_params", None)) and not isinstance(search, type):
            return self._submit_named(search, data=data, groups=groups, name=name)
        if data is not None or groups is not None:
            raise ManifestRefused([Problem("data, groups", "left out beside a manifest", "both a manifest and them")])
        document = _read(search)
        if name is not None:
            document["metadata"] = {**document.get("metadata", {}), "name": name}
        if isinstance(search, str | Path):
            return self._submit_file(document, Path(search).parent)
        return self._begun(document)

    def attach(self, name: str) -> Run:
        """An existing search, by its name. Raises ClusterRefused."""
        if self._access.get(name) is None:
            raise ClusterRefused(f"{name}: must be a TuningJob in the namespace {self.namespace}, but there is none.")
        return Run(self._access, name, service=self._service)

    def params(self, model_key: str) -> dict[str, Any]:
        """The parameters of the blessed version of a model key, for ``estimator.set_params(**…)``.

        Raises UnknownModel, NotBlessed.
        """
        from tuningjob.search.written import from_literals  # noqa: PLC0415

        return from_literals(self._service.blessed(model_key))

    def close(self) -> None:
        """Close the connections. Searches go on."""
        self._service.close()
        self._access.close()

    def __enter__(self) -> Self:
        self._entered.append(ELSEWHERE.set(self._fit))
        return self

    def __exit__(self, *_: object) -> None:
        ELSEWHERE.reset(self._entered.pop())
        self.close()

    def _fit(self, search: Anything, X: Matrix, y: Target, params: Mapping[str, Any]) -> None:
        """Fit a search on the cluster, as ``search.fit`` does within ``with``."""
        run = self.submit(search, X, y, **params)
        run.wait(tell=progress_display(run.name))
        run.leave_in(search)
        columns = getattr(X, "columns", None)
        if search.refit and columns is not None and all(isinstance(name, str) for name in columns):
            search.feature_names_in_ = np.asarray(list(columns), dtype=object)

    def _submit_given(
        self, search: Anything, X: Matrix, y: Target, params: Mapping[str, Any], *, data: object, name: str | None
    ) -> Run:
        # only a search needs scikit-learn
        from tuningjob.cluster.sending import given_to_fit, named_to_fit, not_yet_sent  # noqa: PLC0415

        if data is not None:
            raise ManifestRefused([Problem("data", "left out beside X", "both")])
        params = {key: value for key, value in params.items() if value is not None}
        if isinstance(X, str | Mapping):
            return self._submit_named(search, **named_to_fit(search, X, y, params), name=name)
        # what a manifest cannot say is refused before anything is read or sent
        document = self._written(search, data=not_yet_sent(search, params), name=name)
        given = given_to_fit(search, X, y, params)
        return self._sent(document, given, is_named=name is not None, like=search)

    def _sent(
        self,
        document: dict[str, Any],
        given: Mapping[str, Any],
        *,
        beside: Path | None = None,
        is_named: bool = True,
        like: Anything = None,
    ) -> Run:
        """Begin a search with what it is given; what the service lacks of that is sent."""
        from tuningjob.cluster.sending import packed  # noqa: PLC0415

        with packed(given, document, code=self._code, beside=beside) as parcel:
            document = parcel.name_in(document)
            if not is_named:
                document["metadata"] = {"name": _name_of(document)}
            wanted = load(document)
            if self._access.get(wanted.metadata.name) is None:
                there = self._environment(is_needed=bool(parcel.files))
                if wanted.spec.image is None:
                    check_environment(there, named_packages(document["spec"]))
                if "sklearn" in sys.modules:  # it brings the libraries whose versions are compared
                    check_kernels(there.kernels)
                self._service.send(parcel.files, say)
            return self._begun(document, like=like)

    def _environment(self, *, is_needed: bool) -> WorkerEnvironment:
        """What pods have; empty if the service cannot be reached and nothing has to be sent to it."""
        try:
            return self._service.environment()
        except TuningJobError:
            if is_needed:
                raise
            return WorkerEnvironment()

    def _begun(self, document: dict[str, Any], *, like: Anything = None) -> Run:
        name = load(document).metadata.name
        if self._access.create(document) is None:
            self._must_be_the_same(document)
        return Run(self._access, name, service=self._service, like=like)

    def _submit_file(self, document: dict[str, Any], folder: Path) -> Run:
        """Begin the search of a manifest's file; sends the data file and the modules that it names and that are beside it."""
        spec = load(document).spec
        has_data = is_of_this_machine(spec.data, folder)
        if not has_data and (spec.code is not None or not is_beside(named_packages(document["spec"]), folder)):
            return self._begun(document)
        from tuningjob.cluster.sending import of_manifest  # noqa: PLC0415

        return self._sent(document, of_manifest(document, folder) if has_data else {}, beside=folder)

    def _submit_named(
        self, search: Anything, *, data: Mapping[str, Any] | None, groups: str | None, name: str | None
    ) -> Run:
        """Begin a search over data that pods read."""
        if data is None:
            advice = "Give X and y, which are sent, or data: what pods are to read (spec.data)."
            raise ManifestRefused([Problem("X", "given, or data in its place", "none", advice)])
        document = self._written(search, data=data, groups=groups, name=name)
        return self._sent(document, {}, is_named=name is not None, like=search)

    def _written(
        self, search: Anything, *, data: Mapping[str, Any], groups: str | None = None, name: str | None
    ) -> dict[str, Any]:
        from tuningjob.search.to_manifest import to_manifest  # noqa: PLC0415  only a search needs scikit-learn

        document = to_manifest(search, data=data, groups=groups, name=name or _NAME)
        if search.n_jobs is not None:
            told = shown(search.n_jobs)
            say(f"n_jobs={told} is not sent: what counts is how many pods there are, and the CPUs of each (pods, cpu).")
        return self._with_settings(document)

    def _with_settings(self, document: dict[str, Any]) -> dict[str, Any]:
        spec = dict(document["spec"])
        for field, value in self._settings.items():
            if value is not None:
                spec.setdefault(field, value)
        resources = {name: value for name, value in self._resources.items() if value is not None}
        if resources:
            spec["resources"] = {**resources, **spec.get("resources", {})}
        return {**document, "spec": spec}

    def _must_be_the_same(self, document: dict[str, Any]) -> None:
        name = document["metadata"]["name"]
        found = self._access.get(name)
        if found is None:
            raise ClusterRefused(f"{name}: must stay while it is looked at, but it was deleted just now. Try again.")
        changed = frozen_changes(
            load({key: found[key] for key in ("apiVersion", "kind", "metadata", "spec")}).spec, load(document).spec
        )
        if changed:
            raise ClusterRefused(
                f"{name}: must be a name that is free in the namespace {self.namespace}, but another search has it "
                f"({', '.join(changed)} differ). Choose another, or delete that one."
            )


def is_of_this_machine(data: Data, folder: Path) -> bool:
    """Whether a manifest's data are a file beside it, and not on a volume of the cluster."""
    on_volume = data.persistent_volume_claim is not None or data.config_map is not None
    return data.path is not None and not on_volume and (folder / data.path).exists()


def _read(manifest: Anything) -> dict[str, Any]:
    found: Any = read_file(Path(manifest)) if isinstance(manifest, str | Path) else canonical(manifest)
    load(found)
    return dict(found)


def _name_of(document: Mapping[str, Any]) -> str:
    spec = dump_spec(load(document).spec)
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:_DIGEST_LETTERS]
    return f"{_NAME[: MAX_NAME_LENGTH - 1 - _DIGEST_LETTERS]}-{digest}"


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)
