"""Bearer tokens of searches: what lets a worker pod write to its own search, and to no other.

``tj1.<payload>.<signature>``: the payload names the search and the end of the token's life, the signature is HMAC-SHA256
under a key that never leaves the operator's volume. Nothing is stored for a token, so a restart of either container
changes nothing; and the same search and end give the same token, so that applying a Secret again changes nothing.

Not a JWT on purpose: one algorithm, two fields, the standard library.
"""

import base64
import binascii
import datetime as dt
import hashlib
import hmac
import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

_PREFIX: Final = "tj1"
_KEY_BYTES: Final = 32
_MAX_TOKEN_LENGTH: Final = 1_024


class TokenRefused(Exception):
    """A token that gives no right, with the reason in one sentence."""


def load_or_create_key(path: Path) -> bytes:
    """The signing key in ``path``, made by whoever comes first. Raises ValueError for a file that holds no key.

    The operator and the results service start together and must end up with one key: it is written to a file of its
    own and then linked to its name, which succeeds for exactly one and shows nobody half a key.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):  # the other container was first
                path.hardlink_to(draft)
        finally:
            draft.unlink(missing_ok=True)
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise ValueError(
            f"{path}: must be a key of {_KEY_BYTES} bytes, but got {len(key)}. Remove the file: "
            "a new key is made, and the pods of running searches are given new tokens."
        )
    return key


def is_one(token: str) -> bool:
    """Whether it is meant to be a search's token, good or not: such a one is nobody else's to be shown."""
    return token.startswith(f"{_PREFIX}.")


def issue(key: bytes, search_id: str, expires_at: dt.datetime) -> str:
    """The token of a search, good until ``expires_at`` (aware; whole seconds count)."""
    if expires_at.tzinfo is None:
        raise ValueError("expires_at must be an aware time")
    fields = {"exp": int(expires_at.timestamp()), "search": search_id}
    payload = _encode(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode())
    return f"{_PREFIX}.{payload}.{_encode(_sign(key, payload))}"


def verify(key: bytes, token: str, now: dt.datetime) -> str:
    """The search that ``token`` gives a right to. Raises TokenRefused."""
    try:
        prefix, payload, signature = token[:_MAX_TOKEN_LENGTH].split(".")
        content, given = _decode(payload), _decode(signature)
    except ValueError:
        raise TokenRefused("The token must be of the form tj1.<payload>.<signature>, but got something else.") from None
    if prefix != _PREFIX:
        raise TokenRefused("The token must begin with tj1, but got another version.")
    # Before anything in it is read: only what this key has signed is worth parsing.
    if not hmac.compare_digest(_sign(key, payload), given):
        raise TokenRefused("The token must be signed by this installation, but its signature is another.")
    fields = json.loads(content)
    expires_at = dt.datetime.fromtimestamp(fields["exp"], tz=dt.UTC)
    if now >= expires_at:
        raise TokenRefused(f"The token must be used before {expires_at.isoformat()}, but it is {now.isoformat()}.")
    return str(fields["search"])


def _sign(key: bytes, payload: str) -> bytes:
    return hmac.digest(key, f"{_PREFIX}.{payload}".encode(), hashlib.sha256)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    """Raises ValueError for what ``_encode`` would not have written: one token, one spelling."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(text) from error
    if _encode(data) != text:
        raise ValueError(text)
    return data
