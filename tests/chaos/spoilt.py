"""Bytes of requests that no client would send, and bodies with something else in the place of one value."""

import copy
import json
from typing import Any

from tests.chaos import attacks


def spoilt(ordinary: Any, attack: attacks.Body) -> bytes:
    """An ordinary body with the text in the place of one of its values, of those in lists and maps, too."""
    text = attack.text.written(times=6)
    if attack.at is None:
        return text
    body = copy.deepcopy(ordinary)
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            places.append((value, key))
            if isinstance(value[key], dict | list):
                walk(value[key])

    walk(body)
    at, key = places[attack.at % len(places)]
    at[key] = "HERE"
    return json.dumps(body).encode().replace(b'"HERE"', text)


def raw(attack: attacks.Raw, token: str) -> tuple[bytes, bytes]:
    """What is sent, and what may follow."""
    filler, bearer = b"x" * attack.size, token.encode()
    post = b"POST /v1/fail HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\r\n" % bearer
    chunked = post + b"Transfer-Encoding: chunked\r\n\r\n"
    shapes = {
        "half a head": (b"GET /healthz HTTP/1.1\r\nX-A: " + filler[:1_000], filler),
        "a long head": (b"GET /healthz HTTP/1.1\r\nX-A: " + filler + b"\r\n\r\n", filler),
        "many headers": (
            b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * min(attack.size, 100_000) + b"\r\n",
            b"",
        ),
        "nothing": (b"", b"G"),
        "half a body": (post + b"Content-Length: %d\r\n\r\n{" % attack.size, b" " * attack.size),
        "a body longer than told": (post + b"Content-Length: 2\r\n\r\n{}" + filler, b""),
        "two lengths": (post + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}{", b""),
        "chunked and a length": (post + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x", b""),
        "chunks without end": (chunked + b"1\r\nx\r\n" * min(attack.size, 50_000), b"1\r\nx\r\n" * 20),
        "a chunk of a wrong size": (chunked + b"ffffffffffffffff\r\n" + filler, filler),
        "pipelined": ((b"GET /v1/search HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\r\n\r\n" % bearer) * 50, b""),
        "no HTTP": (b"\x00\xff\x16" + filler, filler),
        "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + filler[:500], filler),
        "an upgrade": (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", filler),
        "an absolute address": (b"GET http://169.254.169.254/v1/search HTTP/1.1\r\nHost: a\r\n\r\n", b""),
        "NUL in a path": (b"GET /v1/\x00search HTTP/1.1\r\nHost: a\r\n\r\n", b""),
        "a long path": (b"GET /" + filler + b" HTTP/1.1\r\nHost: a\r\n\r\n", b""),
        "expect and wait": (post + b"Expect: 100-continue\r\nContent-Length: 10\r\n\r\n", b"{"),
    }
    return shapes[attack.kind]
