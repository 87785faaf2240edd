"""The results service's pages for a browser of this machine: its requests are sent on with the token of a kubeconfig's user."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import httpx
from typing_extensions import override

from tuningjob.loopback import LoopbackHandler, NotDone, Site

_PATIENCE: Final = httpx.Timeout(15.0, read=90.0)
# the headers of an answer that are handed on, and no others
_HANDED_ON: Final = frozenset(
    {
        "content-type",
        "content-security-policy",
        "x-content-type-options",
        "referrer-policy",
        "cache-control",
        "location",
    }
)
# a dash stands for all namespaces that the person may see
_PAGES: Final = re.compile(r"/v1/namespaces/[-a-z0-9]+/ui/")


class ServiceSite(Site):
    """The pages of the service, which are all that can be requested through this site.

    ``namespace``: where the site begins; None: at the list of all namespaces. ``token`` is called for each request, because the
    person's token may be renewed.
    """

    def __init__(
        self, url: str, token: Callable[[], str], *, namespace: str | None, ca_file: Path | None = None
    ) -> None:
        super().__init__()
        self._token = token
        self.root = f"/v1/namespaces/{namespace or '-'}/ui/"
        verify: str | bool = True if ca_file is None else str(ca_file)
        self.client = httpx.Client(base_url=url, verify=verify, timeout=_PATIENCE, trust_env=False)

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    @override
    def get(self, handler: LoopbackHandler, path: str, query: dict[str, list[str]]) -> None:
        if path == "/":
            handler.send_page(303, b"", {"Location": self.root})
            return
        self._forward(handler, "GET", path, urlencode(query, doseq=True), None)

    @override
    def post(self, handler: LoopbackHandler, path: str, body: bytes) -> None:
        self._forward(handler, "POST", path, "", body)

    def _forward(self, handler: LoopbackHandler, method: str, path: str, query: str, body: bytes | None) -> None:
        if not _PAGES.match(path) or "/../" in f"{path}/" or "%2e" in path.lower():
            raise NotDone(404, "There is no such page.")
        headers = {"Authorization": f"Bearer {self._token()}"}
        headers |= {"Content-Type": "application/x-www-form-urlencoded"} if body is not None else {}
        try:
            with self.client.stream(
                method, f"{path}?{query}" if query else path, content=body, headers=headers
            ) as answer:
                handed_on = {name: value for name, value in answer.headers.items() if name in _HANDED_ON}
                handler.begin_stream(handed_on, answer.status_code)
                for block in answer.iter_raw():
                    handler.wfile.write(block)
        except httpx.HTTPError as error:
            if not handler.close_connection:
                raise NotDone(502, f"The results service must answer, but got: {error}.") from None
        except OSError:
            return  # the browser is gone
