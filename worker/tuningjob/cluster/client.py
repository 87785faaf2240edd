"""``tuningjob.Cluster``: a search that is written in Python, on a cluster."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tuningjob.aliases import Anything
from tuningjob.cluster.access import Access, Login
from tuningjob.cluster.run import Run
from tuningjob.cluster.service import Service
from tuningjob.errors import ClusterRefused, ManifestRefused, Problem
from tuningjob.manifest import dump_spec, load
from tuningjob.manifest.canonical import canonical, read_file
from tuningjob.manifest.live import frozen_changes
from tuningjob.manifest.wellknown import MAX_NAME_LENGTH

_DIGEST_LETTERS = 8
_NAME = "search"


class Cluster:
    """A namespace of a cluster that has the operator, with the rights of a kubeconfig.

    ``namespace``: the context's own by default. ``pods``, ``cpu``, ``memory`` and ``image`` are for each search that
    is submitted, where its manifest does not say them: at most so many pods, of which each has so much; ``cpu`` is
    how many fits go on in a pod at once.

    Who asks: ``context`` of ``kubeconfig`` (by default the current one, as kubectl finds it; in a pod its service
    account), or ``server``, ``token`` and ``ca_file``. Models come from the results service, at the URL ``service``:
    ``service_ca_file`` is who signed its certificate, ``service_token`` for who has a certificate and no token.

    Raises ClusterRefused for a kubeconfig that cannot be used, ImportError without the extra ``cluster``.
    """

    def __init__(
        self,
        namespace: str | None = None,
        *,
        pods: int | None = None,
        cpu: int | str | None = None,
        memory: str | None = None,
        image: str | None = None,
        context: str | None = None,
        kubeconfig: str | Path | None = None,
        server: str | None = None,
        token: str | None = None,
        ca_file: str | Path | None = None,
        service: str | None = None,
        service_ca_file: str | Path | None = None,
        service_token: str | None = None,
    ) -> None:
        login = Login(context, _path(kubeconfig), server, token, _path(ca_file))
        self._access = Access(login, namespace)
        self._service = Service(self._access, service, _path(service_ca_file), service_token)
        self._settings = {"parallelism": pods, "image": image}
        self._resources = {"cpu": cpu, "memory": memory}

    @property
    def namespace(self) -> str:
        """Where its searches are."""
        return self._access.namespace

    def __repr__(self) -> str:
        return f"Cluster({self.namespace!r}, server={self._access.host!r})"

    def submit(
        self,
        search: Anything,
        *,
        data: Mapping[str, Any] | None = None,
        groups: str | None = None,
        name: str | None = None,
    ) -> Run:
        """Begin a search: a GridSearchCV or RandomizedSearchCV object with ``data`` that is in the cluster, or a
        manifest.

        ``data`` is ``spec.data``: ``{"loader": …}``, ``{"path": …, "persistentVolumeClaim": …}``, ``{"path": …,
        "configMap": …}``, as pods see it. ``groups``: the column that ``fit`` would be given as groups. A manifest is
        a document, or the path of its file. ``name``: of the TuningJob; by default the content's: the same search
        again is the same run. Nothing is pickled: what a manifest cannot say is refused, with the path to it and what
        to do.

        Raises ManifestRefused with every problem, ClusterRefused with what the API server has against it (or if
        another search has the name), ClusterUnavailable.
        """
        is_search = callable(getattr(search, "get_params", None)) and not isinstance(search, type)
        document = self._document(search, data=data, groups=groups, name=name) if is_search else _read(search)
        if not is_search and (data is not None or groups is not None):
            raise ManifestRefused([Problem("data, groups", "left out beside a manifest", "both a manifest and them")])
        if name is not None:
            document["metadata"] = {**document.get("metadata", {}), "name": name}
        wanted = load(document)
        stored = self._access.create(document)
        if stored is None:
            self._must_be_the_same(document)
        return Run(self._access, wanted.metadata.name, service=self._service, like=search if is_search else None)

    def attach(self, name: str) -> Run:
        """A search that is there already, by its name. Raises ClusterRefused."""
        if self._access.get(name) is None:
            raise ClusterRefused(f"{name}: must be a TuningJob in the namespace {self.namespace}, but there is none.")
        return Run(self._access, name, service=self._service)

    def close(self) -> None:
        """Give the connections back. Searches go on."""
        self._access.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _document(
        self, search: Anything, *, data: Mapping[str, Any] | None, groups: str | None, name: str | None
    ) -> dict[str, Any]:
        from tuningjob.search.to_manifest import to_manifest  # noqa: PLC0415  scikit-learn only for a search

        if data is None:
            advice = "Data of this process are not sent: put them on a volume or into a ConfigMap, and name that."
            raise ManifestRefused([Problem("data", "spec.data: what pods are to read", "none", advice)])
        document = self._with_settings(to_manifest(search, data=data, groups=groups, name=name or _NAME))
        if name is None:
            document["metadata"] = {"name": _name_of(document)}
        return document

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
