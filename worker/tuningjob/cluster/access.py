"""The API server of a cluster as a person reaches it: by their kubeconfig, and so as themselves, with their own rights.

The official client reads every kind of kubeconfig (tokens, certificates, plug-ins that are executed) and renews what expires.
"""

import base64
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Self

import yaml
from typing_extensions import override

from tuningjob.aliases import Anything
from tuningjob.errors import ClusterRefused, ClusterUnavailable, Problem
from tuningjob.extras import advice_for
from tuningjob.manifest.wellknown import GROUP, PLURAL, VERSION

Object = dict[str, Any]
# seconds to connect, and seconds for an answer
_TIMEOUT: Final = (10, 60)
_IN_A_POD: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TELLS_AGAIN: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT})
_BEARER: Final = "Bearer "
_RESULTS: Final = "results"
_WITH_A_LOG: Final = frozenset({"Running", "Succeeded", "Failed"})


@dataclass(frozen=True)
class Login:
    """The API server, and who asks: a kubeconfig's context, or ``server`` and ``token``; in a pod its service account."""

    context: str | None = None
    kubeconfig: Path | None = None
    server: str | None = None
    token: str | None = None
    ca_file: Path | None = None


class UnknownPerson(ClusterRefused):
    """The API server does not know who asks."""


class Access:
    """One API server, and a namespace of it. Every method may raise ClusterRefused and ClusterUnavailable."""

    def __init__(self, login: Login, namespace: str | None) -> None:
        try:
            # imported only to talk to a cluster, because it takes a second
            import kubernetes.client  # noqa: PLC0415
            import kubernetes.config  # noqa: PLC0415
            import kubernetes.watch  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise ImportError(advice_for(error, "tuningjob.Cluster") or str(error)) from error
        self._kubernetes = kubernetes
        self._login = login
        own = self._log_in()
        self.namespace: str = namespace or own or "default"
        self._place: Final = {"group": GROUP, "version": VERSION, "namespace": self.namespace, "plural": PLURAL}

    @property
    def host(self) -> str:
        """The API server's URL."""
        return str(self._client.configuration.host)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._client.rest_client.pool_manager.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- TuningJobs

    def get(self, name: str) -> Object | None:
        """A TuningJob; None if there is none of the name."""
        with self._telling():
            try:
                found: Object = self._objects.get_namespaced_custom_object(
                    **self._place, name=name, _request_timeout=_TIMEOUT
                )
            except self._kubernetes.client.ApiException as error:
                if error.status == HTTPStatus.NOT_FOUND and _details(error).get("name") == name:
                    return None
                raise
            return found

    def create(self, tuningjob: Mapping[str, Any]) -> Object | None:
        """Create a TuningJob; returns it as it is stored, None if there is one of the name already."""
        with self._telling():
            try:
                made: Object = self._objects.create_namespaced_custom_object(
                    **self._place, body=dict(tuningjob), field_validation="Strict", _request_timeout=_TIMEOUT
                )
            except self._kubernetes.client.ApiException as error:
                if error.status == HTTPStatus.CONFLICT:
                    return None
                raise
            return made

    def set_field(self, name: str, field: str, *, value: object) -> None:
        """Change one field of its spec."""
        patch = {"spec": {field: value}}  # a merge patch
        with self._telling():
            self._objects.patch_namespaced_custom_object(
                **self._place, name=name, body=patch, _request_timeout=_TIMEOUT
            )

    def delete(self, name: str) -> None:
        """Delete a TuningJob, and with it all that was made for it."""
        with self._telling():
            self._objects.delete_namespaced_custom_object(**self._place, name=name, _request_timeout=_TIMEOUT)

    def changes(self, name: str, resource_version: str, seconds: int) -> Iterator[Object | None]:
        """Yield the TuningJob each time that it changes, for at most so many seconds; None once it is deleted."""
        watch = self._kubernetes.watch.Watch()
        with self._telling():
            for event in watch.stream(
                self._objects.list_namespaced_custom_object,
                **self._place,
                field_selector=f"metadata.name={name}",
                resource_version=resource_version,
                timeout_seconds=seconds,
                _request_timeout=(_TIMEOUT[0], seconds + _TIMEOUT[0]),
            ):
                yield None if event["type"] == "DELETED" else event["object"]

    # --- other objects

    def configmap(self, name: str) -> dict[str, bytes] | None:
        """What a ConfigMap holds; None if there is none of the name."""
        with self._telling():
            try:
                found = self._core.read_namespaced_config_map(name, self.namespace, _request_timeout=_TIMEOUT)
            except self._kubernetes.client.ApiException as error:
                if error.status == HTTPStatus.NOT_FOUND:
                    return None
                raise
        texts = {key: value.encode() for key, value in (found.data or {}).items()}
        return texts | {key: base64.b64decode(value) for key, value in (found.binary_data or {}).items()}

    def pods(self, labels: str) -> list[str]:
        """The names of the pods with these labels that run or ran."""
        with self._telling():
            found = self._core.list_namespaced_pod(self.namespace, label_selector=labels, _request_timeout=_TIMEOUT)
        return [pod.metadata.name for pod in found.items if pod.status.phase in _WITH_A_LOG]

    def log(self, pod: str, *, lines: int | None) -> str:
        """The last lines of a pod's log."""
        with self._telling():
            # as bytes, because the client would parse what looks like JSON
            answer = self._core.read_namespaced_pod_log(
                pod, self.namespace, tail_lines=lines, _preload_content=False, _request_timeout=_TIMEOUT
            )
            text: str = answer.data.decode(errors="replace")
        return text

    def bearer(self, *, is_refused: bool = False) -> str | None:
        """The person's token, renewed if it has expired or ``is_refused``; None for a person with a client certificate."""
        if is_refused:
            self.close()
            self._log_in()
        written = self._client.configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        return written.removeprefix(_BEARER) if written else None

    def is_renewed(self) -> bool:
        """Whether there is another token than the refused one, after asking the plug-in or reading the file again."""
        before = self.bearer()
        return self.bearer(is_refused=True) != before

    def token_of(self, service_account: str, *, audience: str) -> str:
        """A token of a service account of the namespace, for one hour and this audience only."""
        client = self._kubernetes.client
        body = client.AuthenticationV1TokenRequest(spec=client.V1TokenRequestSpec(audiences=[audience]))
        with self._telling():
            found = self._core.create_namespaced_service_account_token(
                service_account, self.namespace, body, _request_timeout=_TIMEOUT
            )
        return str(found.status.token)

    def authority(self, release: str, namespace: str) -> str | None:
        """The CA of a release's results service, as PEM; None if the release has not made one."""
        with self._telling():
            try:
                found = self._core.read_namespaced_config_map(f"{release}-ca", namespace, _request_timeout=_TIMEOUT)
            except self._kubernetes.client.ApiException as error:
                if error.status == HTTPStatus.NOT_FOUND:
                    return None
                raise
        return (found.data or {}).get("ca.crt")

    def dial(self, release: str, namespace: str) -> tuple[str, Callable[[], Anything]]:
        """The scheme of a release's results service (http, https), and a function that connects through the API server.

        Each connection goes to a pod that is ready by then, because the pod before may have been replaced.
        """
        with self._telling():
            service = self._core.read_namespaced_service(f"{release}-results", namespace, _request_timeout=_TIMEOUT)
        labels = ",".join(f"{key}={value}" for key, value in (service.spec.selector or {}).items())
        name = f"{namespace}/{release}-results"

        def connect() -> Anything:
            return self._opened(self._pod_of(name, namespace, labels), namespace)

        return str(service.spec.ports[0].name), connect

    def _pod_of(self, service: str, namespace: str, labels: str) -> Anything:
        """A pod of a service that is ready."""
        with self._telling():
            pods = self._core.list_namespaced_pod(namespace, label_selector=labels, _request_timeout=_TIMEOUT).items
        ready = next((pod for pod in pods if _is_ready(pod)), None)
        if ready is None:
            raise ClusterUnavailable(f"{service}: must have a pod that is ready, but has none.")
        return ready

    def _opened(self, pod: Anything, namespace: str) -> Anything:
        """A connection to the results service's port of a pod."""
        from kubernetes.stream import portforward  # noqa: PLC0415

        named = (each for part in pod.spec.containers for each in part.ports or [] if each.name == _RESULTS)
        port = next((each.container_port for each in named), 8080)
        # a client of its own, because it can do nothing else while a connection is opened
        core = self._kubernetes.client.CoreV1Api(self._kubernetes.client.ApiClient(self._client.configuration))
        with self._telling():
            opened = portforward(
                core.connect_get_namespaced_pod_portforward, pod.metadata.name, namespace, ports=str(port)
            )
        return opened.socket(port)

    # --- logging in

    def _log_in(self) -> str | None:
        """Read the kubeconfig as if for the first time; returns the namespace that it names."""
        self._client, own = self._connected(self._login)
        self._objects = self._kubernetes.client.CustomObjectsApi(self._client)
        self._core = self._kubernetes.client.CoreV1Api(self._client)
        return own

    def _connected(self, login: Login) -> tuple[Anything, str | None]:
        """The client, and the namespace that its configuration names."""
        client, config = self._kubernetes.client, self._kubernetes.config
        if login.server is not None:
            if not login.token:
                raise ClusterRefused(str(Problem("token", "given beside server", "none", "kubectl create token NAME")))
            configuration = client.Configuration(host=login.server.rstrip("/"))
            configuration.api_key["BearerToken"] = _BEARER + login.token
            configuration.ssl_ca_cert = str(login.ca_file) if login.ca_file is not None else None
            return client.ApiClient(configuration), None
        paths = str(login.kubeconfig or os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")
        is_there = any(Path(path).expanduser().is_file() for path in paths.split(os.pathsep) if path)
        try:
            if not is_there and login.kubeconfig is None and (_IN_A_POD / "token").is_file():
                configuration = client.Configuration()
                config.load_incluster_config(client_configuration=configuration)
                return client.ApiClient(configuration), (_IN_A_POD / "namespace").read_text(encoding="utf-8").strip()
            if not is_there:
                advice = "Name one by kubeconfig=, or the API server by server=, token= and ca_file=."
                raise ClusterRefused(str(Problem("kubeconfig", "a file that is there", paths, advice)))
            contexts, current = config.list_kube_config_contexts(config_file=paths)
            chosen = next((each for each in contexts if each["name"] == login.context), None)
            if login.context is not None and chosen is None:
                known = ", ".join(sorted(str(each["name"]) for each in contexts))
                raise ClusterRefused(str(Problem("context", f"one of {paths} ({known})", repr(login.context))))
            with _errors_of("kube_config") as said:
                found = config.new_client_from_config(config_file=paths, context=login.context)
        # the official client finds out only while reading that a file is no kubeconfig
        except (
            config.ConfigException,
            yaml.YAMLError,
            OSError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
        ) as error:
            reason = " ".join(str(error).split())
            raise ClusterRefused(str(Problem(paths, "a kubeconfig that can be used", reason))) from None
        # the client only logs that a plug-in failed, and then asks without credentials
        known = found.configuration.api_key or found.configuration.cert_file
        if said and not known:
            advice = "Log in again, as for kubectl."
            raise ClusterRefused(str(Problem(paths, "a kubeconfig whose plug-in says who you are", said[-1], advice)))
        namespace = ((chosen or current or {}).get("context") or {}).get("namespace")
        return found, namespace

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """A block whose errors of the API server are raised as ClusterRefused or ClusterUnavailable, with one sentence."""
        from urllib3.exceptions import HTTPError  # noqa: PLC0415  the official client's own

        try:
            yield
        except self._kubernetes.client.ApiException as error:
            raise self._refusal(error) from None
        except (HTTPError, OSError) as error:
            reason = " ".join(str(getattr(error, "reason", error)).split())
            raise ClusterUnavailable(f"{self.host}: must be an API server that answers, but got: {reason}.") from None

    def _refusal(self, error: Anything) -> ClusterRefused | ClusterUnavailable:
        status, said = int(error.status or 0), _said(error)
        if status == HTTPStatus.UNAUTHORIZED:
            return UnknownPerson(
                f"{self.host}: must know who you are, but does not: your token is of another cluster, or too old. Log in again."
            )
        if status == HTTPStatus.NOT_FOUND and not _details(error):
            return ClusterRefused(
                f"{self.host}: must know TuningJobs, but does not. Ask the cluster's administrator to install the chart."
            )
        if status in _TELLS_AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in {0, HTTPStatus.GONE}:
            return ClusterUnavailable(f"{self.host}: must be an API server that answers, but got: {said}.")
        return ClusterRefused(f"{self.host}: {said}")


@contextmanager
def _errors_of(module: str) -> Iterator[list[str]]:
    """A block that collects what a module of the official client logs meanwhile."""
    told: list[str] = []

    class Kept(logging.Handler):
        @override
        def emit(self, record: logging.LogRecord) -> None:
            if record.module == module:
                told.append(" ".join(record.getMessage().split()))

    root, handler = logging.getLogger(), Kept(logging.ERROR)
    root.addHandler(handler)
    try:
        yield told
    finally:
        root.removeHandler(handler)


def _is_ready(pod: Anything) -> bool:
    told = {each.type: each.status for each in pod.status.conditions or []}
    return told.get("Ready") == "True" and pod.metadata.deletion_timestamp is None


def _details(error: Anything) -> Mapping[str, Any]:
    try:
        details = json.loads(error.body)["details"]
    except (ValueError, TypeError, KeyError):
        return {}
    return details if isinstance(details, dict) else {}


def _said(error: Anything) -> str:
    """The API server's own sentence."""
    try:
        return str(json.loads(error.body)["message"])
    except (ValueError, TypeError, KeyError):
        return f"{error.status} {' '.join(str(error.reason).split())}"
