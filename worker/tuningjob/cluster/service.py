"""The connection to the results service, which has the models."""

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import tenacity

from tuningjob.aliases import Anything
from tuningjob.artifacts.downloads import hold_to_audit
from tuningjob.cluster.access import Access
from tuningjob.cluster.forward import PortForward, end
from tuningjob.cluster.saying import say
from tuningjob.errors import ArtifactRefused, ClusterRefused, ClusterUnavailable
from tuningjob.manifest.wellknown import ENV_CA_FILE, ENV_SERVER, ENV_TOKEN
from tuningjob.protocol.audit import AuditRow
from tuningjob.protocol.environment import WorkerEnvironment
from tuningjob.remote.audit import PATIENCE_SECONDS, HttpAudit
from tuningjob.remote.data import HttpData
from tuningjob.remote.transport import Bearer
from tuningjob.sent.files import SentFile

C = TypeVar("C", bound=HttpAudit)
# A client waits out an upgrade of a service that was there, or the loss of its node; at the first request nothing has begun yet.
AWAY_SECONDS: Final = 600.0
# from this size on, sending takes longer than a moment
_TOLD_BYTES: Final = 16 * 2**20
# the chart's default: people.audience
_AUDIENCE: Final = "tuningjob"
RELEASE: Final = "tuningjob-system/tuningjob"


def _untold(_sent: int, _size: int) -> None:
    pass


def _waited_for(dial: Callable[[], Anything], seconds: float) -> Anything:
    """An open connection, once there is one. Raises ClusterUnavailable after so many seconds."""
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(ClusterUnavailable),
        wait=tenacity.wait_exponential(multiplier=0.5, max=4.0),
        stop=tenacity.stop_after_delay(seconds),
        before_sleep=_say_once,
        reraise=True,
    )
    return retrying(dial)


def _say_once(state: tenacity.RetryCallState) -> None:
    if state.attempt_number == 1 and state.outcome is not None:
        say(f"{state.outcome.exception()} It is waited for.")


class Service:
    """The results service of a cluster as a person reaches it: at ``url``, at TUNINGJOB_SERVER, or through the API server.

    ``ca_file``: the CA that signed its certificate, else TUNINGJOB_CA_FILE. ``token``: a token for the service alone, else
    TUNINGJOB_TOKEN, else one that is requested for ``account``. ``release``: NAMESPACE/NAME of the installed chart.
    """

    def __init__(
        self,
        access: Access,
        url: str | None = None,
        ca_file: Path | None = None,
        token: str | None = None,
        *,
        account: str | None = None,
        release: str = RELEASE,
    ) -> None:
        self.access = access
        self._url = url or os.environ.get(ENV_SERVER)
        self._ca_file = ca_file or (Path(os.environ[ENV_CA_FILE]) if os.environ.get(ENV_CA_FILE) else None)
        self._token = token or os.environ.get(ENV_TOKEN)
        self._account = account
        self._namespace, _, self._release = release.rpartition("/")
        self._forward: PortForward | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def close(self) -> None:
        """Close the connection through the API server, if there was one; it is opened again when it is needed."""
        if self._forward is not None:
            self._forward.close()
            self._forward = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def fetch(self, key: str, version: int, folder: Path, names: Sequence[str]) -> None:
        """Fetch files of a version, each checked against the audit. Raises ClusterRefused, ArtifactRefused."""
        with self._audit() as audit:
            row = audit.version(key, version)
            there = {entry.name: entry for entry in audit.files(row)}
            for name in names:
                if name not in there:
                    raise ArtifactRefused(
                        f"{name}: must be a file of version {version} of {key}, but it is kept no more."
                    )
                hold_to_audit(row, there[name])
                audit.fetch(row, there[name], folder / name)

    def version(self, key: str, version: int) -> AuditRow:
        """The version's row in the audit. Raises UnknownModel, and as ``fetch`` does."""
        with self._audit() as audit:
            return audit.version(key, version)

    def bless(self, key: str, version: int, *, why: str) -> None:
        """Put a version into use. Raises JournalError if the person may not."""
        with self._audit() as audit:
            audit.bless(key, version, why=why)

    def blessed(self, key: str) -> dict[str, Any]:
        """The parameters of the version in use, as JSON. Raises UnknownModel, NotBlessed."""
        with self._audit() as audit:
            return audit.blessed(key).best_params

    def environment(self) -> WorkerEnvironment:
        """The libraries that pods have, if they run the release's own image."""
        with self._client(HttpData, patience_seconds=PATIENCE_SECONDS) as data:
            return data.environment()

    def send(self, files: Mapping[str, SentFile], tell: Callable[[str], object]) -> None:
        """Send the files that the service lacks. Raises ClusterRefused, ArtifactRefused, NoRoom, ServiceUnavailable."""
        for what, file in files.items():
            last = -1

            def told(sent: int, size: int, what: str = what) -> None:
                nonlocal last
                if size and sent * 10 // size != last and sent < size:
                    last = sent * 10 // size
                    tell(f"{what}: {sent / 2**20:,.0f} of {size / 2**20:,.0f} MiB sent")

            with self._client(HttpData) as data:
                data.send(file.path, file.sha256, tell=told if file.size_bytes >= _TOLD_BYTES else _untold)

    def _audit(self) -> HttpAudit:
        return self._client(HttpAudit)

    def _client(self, kind: type[C], *, patience_seconds: float = AWAY_SECONDS) -> C:
        token = Bearer(self.token(), partial(self.token, is_refused=True))
        url, ca_file = self.address(patience_seconds)
        namespace = self.access.namespace
        return kind(url, token, namespace=namespace, ca_file=ca_file, patience_seconds=patience_seconds, say=say)

    def token(self, *, is_refused: bool = False) -> str:
        """The person's token for the service; if the last one ``is_refused``, another one if there is one.

        Raises ClusterRefused.
        """
        if self._token:
            return self._token
        if self._account:
            return self.access.token_of(self._account, audience=_AUDIENCE)
        token = self.access.bearer(is_refused=is_refused)
        if not token:
            raise ClusterRefused(
                "service_account: must be given, but got none, and your kubeconfig has a certificate and no token. Name a "
                "service account of the namespace, whose token is then requested, or give one by service_token: "
                f"`kubectl create token SERVICEACCOUNT --audience {_AUDIENCE}`."
            )
        return token

    def address(self, patience_seconds: float = PATIENCE_SECONDS) -> tuple[str, Path | None]:
        """The service's URL, and the CA of its certificate. A connection through the API server is open until ``close``.

        Raises ClusterRefused, and ClusterUnavailable if the service has no ready pod for so many seconds.
        """
        return (self._url, self._ca_file) if self._url else self._through_the_api_server(patience_seconds)

    def _through_the_api_server(self, patience_seconds: float) -> tuple[str, Path | None]:
        try:
            scheme, dial = self.access.dial(self._release, self._namespace)
            if self._forward is None:
                # so that the API server says that the person may not, instead of a connection that ends
                end(_waited_for(dial, patience_seconds))
            authority = self.access.authority(self._release, self._namespace) if scheme == "https" else None
        except ClusterRefused as refused:
            raise ClusterRefused(
                f"service: must be the URL of the results service, but got none, and the way through the API server is closed: "
                f"{refused} Ask the cluster's administrator for its URL, or for the right to forward a port of "
                f"{self._namespace} (or where it is installed: release='NAMESPACE/NAME')."
            ) from None
        if self._forward is None:
            say(f"No URL of the results service is named: it is reached through {self.access.host} (a port-forward).")
            self._forward = PortForward(dial)
        ca_file = self._ca_file
        if ca_file is None and authority is not None:
            self._folder = self._folder or tempfile.TemporaryDirectory(prefix="tuningjob-")
            ca_file = Path(self._folder.name) / "ca.crt"
            ca_file.write_text(authority, encoding="utf-8")
        return f"{scheme}://localhost:{self._forward.port}", ca_file
