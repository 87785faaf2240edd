"""A real Chromium, spoken to by its own protocol (DevTools) through the HTTP client that kopf brings: no driver, no Node."""

import asyncio
import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--mute-audio", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions", "--disable-default-apps",
    "--disable-features=Translate,OptimizationHints,MediaRouter", "--remote-debugging-port=0",
)  # fmt: skip
_SECONDS = 60.0


def where() -> str | None:
    """The browser's command; None if it is not installed."""
    return shutil.which("chromium")


@contextmanager
def chromium(profile: Path) -> Iterator[str]:
    """A browser that runs; the URL of its protocol."""
    command = where()
    assert command is not None
    with (profile / "log").open("wb") as log:
        process = subprocess.Popen(
            [command, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=log,
            stderr=log,
            env={**os.environ, "HOME": str(profile)},
        )
    try:
        told = profile / "DevToolsActivePort"
        until = time.monotonic() + _SECONDS
        while not (told.is_file() and told.read_text().count("\n") >= 1):
            assert process.poll() is None, (profile / "log").read_text(errors="replace")
            assert time.monotonic() < until, "the browser does not begin"
            time.sleep(0.05)
        port, path = told.read_text().split("\n")[:2]
        yield f"ws://127.0.0.1:{port}{path}"
    finally:
        process.terminate()
        process.wait(timeout=30)


class PageLeft(Exception):
    """The page that was asked gave way to another one before it answered."""


@dataclass
class Page:
    """A page of the browser. ``requests`` are the addresses that it asked for, ``complaints`` what its console said."""

    _socket: aiohttp.ClientWebSocketResponse
    _session: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    _events: list[str] = field(default_factory=list)
    _number: int = 0

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask, and take down what happens meanwhile."""
        self._number += 1
        await self._socket.send_json(
            {"id": self._number, "sessionId": self._session, "method": method, "params": params}
        )
        while True:
            message = await self._next()
            if message.get("id") == self._number:
                if "navigated" in message.get("error", {}).get("message", ""):
                    raise PageLeft(message)
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result

    async def _next(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads((await asyncio.wait_for(self._socket.receive(), _SECONDS)).data)
        method, params = message.get("method", ""), message.get("params", {})
        self._events.append(method)
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        elif method == "Log.entryAdded":
            self.complaints.append(str(params["entry"]))
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(str(params["args"]))
        elif method == "Page.javascriptDialogOpening":
            self.complaints.append(f"dialog: {params['message']}")
        return message

    async def open(self, file: Path | str) -> float:
        """Show a file, or an address; the seconds until it is loaded, its script has run, and it is painted."""
        began = time.monotonic()
        self._events.clear()
        await self.send("Page.navigate", url=file if isinstance(file, str) else file.as_uri())
        while "Page.loadEventFired" not in self._events:
            await self._next()
        await self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")
        return time.monotonic() - began

    async def run(self, script: str) -> Any:
        """The value of an expression, or of what it promises."""
        found = await self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    async def leave(self, script: str) -> None:
        """Run what makes the page give way to another one, perhaps before it has answered."""
        with suppress(PageLeft):
            await self.run(script)

    async def sees(self, script: str, *, seconds: float = 60) -> None:
        """Wait until an expression is true; of a page that is about to give way to another it is not yet."""
        until = time.monotonic() + seconds
        while True:
            with suppress(PageLeft):
                found = await self.send("Runtime.evaluate", expression=f"Boolean({script})", returnByValue=True)
                if found["result"].get("value") is True:
                    return
            assert time.monotonic() < until, f"not seen: {script}; but {await self.run('document.body.innerText')}"
            await asyncio.sleep(0.1)

    async def size(self, width: int, height: int, *, dark: bool = False) -> None:
        """Be a screen of so many points."""
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])

    async def picture(self, path: Path) -> None:
        """Of the whole page, as PNG."""
        found = await self.send("Page.captureScreenshot", captureBeyondViewport=True)
        _write(path, base64.b64decode(found["data"]))

    async def printed(self, path: Path) -> bytes:
        """As PDF, and a picture of what is on paper."""
        await self.size(794, 1_123)  # of A4
        found = await self.send("Page.printToPDF", printBackground=False)
        await self.send("Emulation.setEmulatedMedia", media="print")
        await self.picture(path)
        await self.send("Emulation.setEmulatedMedia", media="")
        return base64.b64decode(found["data"])

    async def drag(self, x: float, from_y: float, to_y: float) -> None:
        """With the mouse, up or down."""
        pressed = {"button": "left", "buttons": 1, "clickCount": 1}
        await self.send("Input.dispatchMouseEvent", type="mousePressed", x=x, y=from_y, **pressed)
        await self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=to_y, button="left", buttons=1)
        await self.send("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=to_y, button="left", clickCount=1)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@asynccontextmanager
async def new_page(url: str) -> AsyncIterator[Page]:
    """A page of its own, closed at the end."""
    async with aiohttp.ClientSession() as http, http.ws_connect(url, max_msg_size=0) as socket:

        async def ask(number: int, method: str, **params: Any) -> dict[str, Any]:
            await socket.send_json({"id": number, "method": method, "params": params})
            while True:
                message = json.loads((await asyncio.wait_for(socket.receive(), _SECONDS)).data)
                if message.get("id") == number:
                    result: dict[str, Any] = message["result"]
                    return result

        target = (await ask(1_000_001, "Target.createTarget", url="about:blank"))["targetId"]
        session = (await ask(1_000_002, "Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        page = Page(socket, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            await page.send(f"{domain}.enable")
        page.requests.clear()
        page.complaints.clear()
        try:
            yield page
        finally:
            await ask(1_000_003, "Target.closeTarget", targetId=target)
