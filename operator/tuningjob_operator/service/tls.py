"""The service's certificate, and its renewal without a restart: new connections get the new one, open ones go on.

MountedCertificate is a Secret of type kubernetes.io/tls that is made and renewed elsewhere; OwnCertificate is made by the service
itself, with the authority that the chart has made.
"""

import asyncio
import datetime as dt
import logging
import ssl
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from typing_extensions import override

from tuningjob_operator.service.authority import Authority

_log = logging.getLogger(__name__)
# The kubelet brings a changed Secret to the volume within a minute or two; a certificate is renewed days before its end.
LOOK_SECONDS: Final = 30.0
# After this share of its life a certificate of our own is replaced; the rest allows for differing clocks and for downtime.
_USE: Final = 2 / 3
_LOOKS_IN_A_LIFE: Final = 30
# How long an administrator has to have the authority renewed.
_NOTICE: Final = dt.timedelta(days=365)


class Certificate(ABC):
    """The service's certificate. Making one raises ValueError if the files hold none."""

    look_seconds = LOOK_SECONDS

    def context(self) -> ssl.SSLContext:
        """The TLS context of a server with this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._load(context)
        return context

    async def watch(self, context: ssl.SSLContext) -> None:
        """Renew the certificate, for ever."""
        while True:
            await asyncio.sleep(self.look_seconds)
            self.renew(context)

    @abstractmethod
    def renew(self, context: ssl.SSLContext) -> bool:
        """Load a new certificate into ``context`` if it is time for that; returns whether it was.

        The old one stays in use if the new one is no good.
        """

    @abstractmethod
    def _load(self, context: ssl.SSLContext) -> None: ...


class MountedCertificate(Certificate):
    """``tls.crt`` and ``tls.key`` of a folder, loaded again when they have changed."""

    def __init__(self, folder: Path) -> None:
        self._certificate_file = folder / "tls.crt"
        self._key_file = folder / "tls.key"
        self._seen = self._state()
        try:
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        except OSError as error:  # ssl.SSLError is one
            raise ValueError(
                f"{folder}: must hold tls.crt and tls.key that belong together, but got: {error}"
            ) from None

    @override
    def renew(self, context: ssl.SSLContext) -> bool:
        state = self._state()
        if state == self._seen:
            return False
        try:
            # loaded on trial first, because a pair that does not match would leave the context with half of it
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
            self._load(context)
        except OSError as error:
            _log.warning("the renewed certificate was not taken: %s", error)
            return False
        self._seen = state
        _log.info("took the renewed certificate")
        return True

    def _load(self, context: ssl.SSLContext) -> None:
        context.load_cert_chain(self._certificate_file, self._key_file)

    def _state(self) -> tuple[tuple[int, int], ...]:
        return _state_of(self._certificate_file, self._key_file)


class OwnCertificate(Certificate):
    """A certificate signed by the authority in ``folder`` (``ca.crt``, ``ca.key``), replaced after two thirds of its ``life``.

    ``names`` are the server's DNS names and addresses. The key is only in this process; another process makes its own.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        *,
        life: dt.timedelta,
        clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._folder = folder
        self._names = tuple(names)
        self._life = life
        self._clock = clock
        self.look_seconds = min(LOOK_SECONDS, life.total_seconds() / _LOOKS_IN_A_LIFE)
        self._make()

    @override
    def renew(self, context: ssl.SSLContext) -> bool:
        if self._clock() < self._renew_at and self._state() == self._seen:
            return False
        try:
            self._make()
        except ValueError as error:
            _log.warning("no new certificate was made: %s", error)
            return False
        self._load(context)
        return True

    def _make(self) -> None:
        seen, now = self._state(), self._clock()
        authority = Authority.read(self._folder)
        issued = authority.issue(self._names, now=now, life=self._life)
        self._pem, self._seen = issued.pem, seen
        self._renew_at = now + _USE * (issued.ends - now)
        _log.info("made a certificate that is good until %s", issued.ends.isoformat())
        if authority.ends - now < _NOTICE:
            _log.warning("the authority ends at %s: `helm upgrade` makes it anew", authority.ends.isoformat())

    def _load(self, context: ssl.SSLContext) -> None:
        # Python loads a certificate into OpenSSL only from a file; this one is for this user alone, and gone at once
        with tempfile.NamedTemporaryFile() as file:
            file.write(self._pem)
            file.flush()
            context.load_cert_chain(file.name)

    def _state(self) -> tuple[tuple[int, int], ...]:
        return _state_of(self._folder / "ca.crt", self._folder / "ca.key")


def _state_of(*paths: Path) -> tuple[tuple[int, int], ...]:
    def of(path: Path) -> tuple[int, int]:
        try:
            found = path.stat()
        except OSError:
            return (0, 0)
        return (found.st_ino, found.st_mtime_ns)

    return tuple(map(of, paths))
