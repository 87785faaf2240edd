"""The service's certificate: as a Secret of type kubernetes.io/tls is mounted, and taken anew when it was renewed."""

import asyncio
import logging
import ssl
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)
# The kubelet brings a changed Secret to the volume within a minute or two; a certificate is renewed days before its end.
LOOK_SECONDS: Final = 30.0


class Certificate:
    """``tls.crt`` and ``tls.key`` of a folder. Raises ValueError for a folder that holds no such pair."""

    def __init__(self, folder: Path) -> None:
        self.certificate_file = folder / "tls.crt"
        self.key_file = folder / "tls.key"
        self._seen = self._state()
        try:
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        except OSError as error:  # ssl.SSLError is one
            raise ValueError(
                f"{folder}: must hold tls.crt and tls.key that belong together, but got: {error}"
            ) from None

    async def watch(self, context: ssl.SSLContext, *, every_seconds: float = LOOK_SECONDS) -> None:
        """Load the pair into ``context`` whenever it has changed, for ever. New connections see it, open ones go on."""
        while True:
            await asyncio.sleep(every_seconds)
            self.renew(context)

    def renew(self, context: ssl.SSLContext) -> bool:
        """Load the pair if it has changed; returns whether it was. One that is none leaves the old one in use."""
        state = self._state()
        if state == self._seen:
            return False
        try:
            # on trial first: a pair that does not match would leave the context with half of it
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
            self._load(context)
        except OSError as error:
            _log.warning("the renewed certificate was not taken: %s", error)
            return False
        self._seen = state
        _log.info("took the renewed certificate")
        return True

    def _load(self, context: ssl.SSLContext) -> None:
        context.load_cert_chain(self.certificate_file, self.key_file)

    def _state(self) -> tuple[tuple[int, int], ...]:
        def of(path: Path) -> tuple[int, int]:
            try:
                found = path.stat()
            except OSError:
                return (0, 0)
            return (found.st_ino, found.st_mtime_ns)

        return (of(self.certificate_file), of(self.key_file))
