"""The results service's pages for a browser of this machine: its requests go on with the right of a kubeconfig."""

from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import httpx
from typing_extensions import override

from tuningjob.loopback import LoopbackHandler, NotDone, Site

_PATIENCE: Final = httpx.Timeout(15.0, read=90.0)
# what an answer is made of; of the rest nothing is handed on
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


class ServiceSite(Site):
    """The pages of one namespace: nothing else of the service can be asked for through it."""

    def __init__(self, url: str, token: str, *, namespace: str, ca_file: Path | None = None) -> None:
        super().__init__()
        self.root = f"/v1/namespaces/{namespace}/ui/"
        verify: str | bool = True if ca_file is None else str(ca_file)
        headers = {"Authorization": f"Bearer {token}"}
        self.client = httpx.Client(base_url=url, headers=headers, verify=verify, timeout=_PATIENCE, trust_env=False)

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
        if not path.startswith(self.root) or "/../" in f"{path}/" or "%2e" in path.lower():
            raise NotDone(404, "There is no such page.")
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if body is not None else {}
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
            return  # the browser went
