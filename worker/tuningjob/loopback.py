"""A server for one browser of this machine, and the checks of every request to it.

Other sites in the same browser must not reach it. They cannot read the address, and their requests carry no cookie
(SameSite=Strict). A form that another site sends is refused, and so is a host name that is not this machine's (DNS rebinding).
"""

import hmac
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import parse_qs, urlsplit

from typing_extensions import override

from tuningjob.errors import NotBlessed, TuningJobError, UnknownModel, UnknownSearch
from tuningjob.live.pages import refusal_page, security_headers

_COOKIE: Final = "tuningjob"
_MOST_FORM: Final = 16 * 2**10
_STATUS: Final = {UnknownModel: 404, UnknownSearch: 404, NotBlessed: 409}


class NotDone(Exception):
    """A request that is refused, with the status and the sentence of the answer."""

    def __init__(self, status: int, sentence: str) -> None:
        self.status = status
        super().__init__(sentence)


class Site:
    """What is served, behind an address that is good once and the cookie that it gives."""

    def __init__(self) -> None:
        self.key, self.session = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self.port = 0  # known once it is served
        self.is_over = threading.Event()

    def get(self, handler: "LoopbackHandler", path: str, query: dict[str, list[str]]) -> None:
        """Answer a request. Raises NotDone."""
        raise NotImplementedError

    def post(self, handler: "LoopbackHandler", path: str, body: bytes) -> None:
        """Answer a form. Raises NotDone."""
        raise NotImplementedError


class LoopbackHandler(BaseHTTPRequestHandler):
    """Checks every request to this machine's server before it is answered."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    site: "Site"

    def do_GET(self) -> None:
        """Answer a GET (http.server calls this)."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Answer a POST (http.server calls this)."""
        self._answer(self._post)

    def _answer(self, act: Callable[[str, dict[str, list[str]]], None]) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query, max_num_fields=20) if url.query.count("&") < 20 else {}
        try:
            self._must_be_this_machine()
            act(url.path, query)
        except NotDone as refused:
            self._leave_unread()
            self.send_page(refused.status, refusal_page(str(refused)).encode())
        except TuningJobError as error:
            self._leave_unread()
            status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 503)
            self.send_page(status, refusal_page(str(error)).encode())

    def _leave_unread(self) -> None:
        """Close the connection, because a refused form may be unread, and what follows would be no request."""
        self.close_connection = self.close_connection or self.command == "POST"

    def _must_be_this_machine(self) -> None:
        port = self.site.port
        if self.headers.get("Host", "") not in {f"127.0.0.1:{port}", f"localhost:{port}"}:
            raise NotDone(421, "The address must be this machine's, as `tuningjob ui` has printed it.")

    def _must_be_known(self) -> None:
        try:
            found = SimpleCookie(self.headers.get("Cookie", "")).get(_COOKIE)
        except CookieError:
            found = None
        if found is None or not hmac.compare_digest(found.value.encode(), self.site.session.encode()):
            raise NotDone(401, "Open the address that `tuningjob ui` has printed.")

    def _get(self, path: str, query: dict[str, list[str]]) -> None:
        given = query.get("key", [""])[0]
        if path == "/" and given:
            if not hmac.compare_digest(given.encode(), self.site.key.encode()):
                raise NotDone(401, "This address was used, or is another's. Start `tuningjob ui` again.")
            self.site.key = secrets.token_urlsafe(32)  # good once
            cookie = f"{_COOKIE}={self.site.session}; HttpOnly; SameSite=Strict; Path=/"
            self.send_page(303, b"", {"Location": "/", "Set-Cookie": cookie})
            return
        self._must_be_known()
        self.site.get(self, path, query)

    def _post(self, path: str, _query: dict[str, list[str]]) -> None:
        self._must_be_known()
        size = self.headers.get("Content-Length", "")
        if not size.isdigit() or int(size) > _MOST_FORM:
            self.close_connection = True
            raise NotDone(413, "The form is too long.")
        if not self._is_from_here():
            raise NotDone(403, "The form must be one of this page, but is not. Load the page again.")
        self.site.post(self, path, self.rfile.read(int(size)))

    def _is_from_here(self) -> bool:
        origin = self.headers.get("Origin")
        return origin in {None, f"http://{self.headers.get('Host')}"}

    def send_page(self, status: int, body: bytes, headers: Mapping[str, str] = {}) -> None:
        """Send a whole answer."""
        self.send_response(status)
        told = {"Content-Type": "text/html; charset=utf-8", **security_headers(), **headers}
        told |= {"Connection": "close"} if self.close_connection else {}
        for name, value in {**told, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def begin_stream(self, headers: Mapping[str, str], status: int = 200) -> None:
        """Send an answer that ends with its connection."""
        self.send_response(status)
        for name, value in {**headers, "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Log nothing, because requests are private."""


class LoopbackServer(ThreadingHTTPServer):
    """Serves a site to this machine until ``shutdown``."""

    daemon_threads = True
    address_family = socket.AF_INET

    def __init__(self, site: Site, port: int = 0) -> None:
        handler = type("Handler", (LoopbackHandler,), {"site": site})
        super().__init__(("127.0.0.1", port), handler)
        self.site = site
        site.port = self.server_port

    @property
    def url(self) -> str:
        """The address that lets one browser in, once."""
        return f"http://127.0.0.1:{self.server_port}/?key={self.site.key}"
