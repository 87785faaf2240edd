"""Bearer tokens of searches, which let a worker pod write to its own search and to no other.

``tj1.<payload>.<signature>``: the payload names the search, the signature is HMAC-SHA256 under a key that only the two
containers of the control plane have. Nothing is stored for a token, so a restart of either container changes nothing; and the
same search and key give the same token, so that applying a Secret again changes nothing.

A token does not expire, because a search may wait for a month. It is good while its search lives: the journal knows no deleted
search, and takes nothing in once one has ended. To revoke tokens earlier, replace the key: tokens of a former key are accepted
while that key is kept beside the new one.

Not a JWT on purpose: one algorithm, one field, the standard library.
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PREFIX: Final = "tj1"
_KEY_BYTES: Final = 32
_MAX_TOKEN_LENGTH: Final = 1_024
_ID_LENGTH: Final = 8
# In the chart's Secret: the key that signs, and any number of those that signed before it.
CURRENT_KEY_FILE: Final = "signing.key"
_FORMER_KEY_FILES: Final = "former*.key"


class TokenRefused(Exception):
    """A token gives no right, for the reason in one sentence."""


@dataclass(frozen=True)
class Keys:
    """``current`` signs; tokens that one of ``former`` signed are good as well."""

    current: bytes
    former: tuple[bytes, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """A name for each key that is accepted, the current one's first: 8 hex digits, which say nothing of the key."""
        return tuple(
            hashlib.sha256(b"tuningjob signing key\0" + key).hexdigest()[:_ID_LENGTH]
            for key in (self.current, *self.former)
        )


def read_keys(folder: Path | None, own_file: Path) -> Keys:
    """The keys of an installation. Raises ValueError for a file that holds no key.

    ``folder`` is a mounted Secret. With it, the key in ``own_file`` on the volume, where older releases kept theirs, is a former
    one, so that searches that began with it go on. Without a folder it is the only key, and is made if it is not there.
    """
    if folder is None:
        return Keys(load_or_create_key(own_file))
    former = [*sorted(folder.glob(_FORMER_KEY_FILES)), *([own_file] if own_file.exists() else [])]
    return Keys(_read_key(folder / CURRENT_KEY_FILE), tuple(map(_read_key, former)))


def load_or_create_key(path: Path) -> bytes:
    """The signing key in ``path``, made by the process that comes first. Raises ValueError for a file that holds no key.

    The operator and the results service start together and must end up with one key: it is written to a file of its
    own and then linked to its name, which succeeds for exactly one process and never shows half a key.
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
    return _read_key(path)


def _read_key(path: Path) -> bytes:
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{path}: must be a key of {_KEY_BYTES} bytes, but is not there.") from None
    if len(key) != _KEY_BYTES:
        raise ValueError(
            f"{path}: must be a key of {_KEY_BYTES} bytes, but got {len(key)}. Put the key back, or make a new one: the pods of "
            "running searches are then made again with new tokens, and what they finished is kept."
        )
    return key


def is_one(token: str) -> bool:
    """Whether a token is meant to be a search's, good or not: such a token is never passed on."""
    return token.startswith(f"{_PREFIX}.")


def issue(keys: Keys, search_id: str) -> str:
    """The token of a search."""
    payload = _encode(json.dumps({"search": search_id}, separators=(",", ":")).encode())
    return f"{_PREFIX}.{payload}.{_encode(_sign(keys.current, payload))}"


def search_of_token(keys: Keys, token: str) -> str:
    """The search that ``token`` gives a right to. Raises TokenRefused."""
    try:
        prefix, payload, signature = token[:_MAX_TOKEN_LENGTH].split(".")
        content, given = _decode(payload), _decode(signature)
    except ValueError:
        raise TokenRefused("The token must be of the form tj1.<payload>.<signature>, but got something else.") from None
    if prefix != _PREFIX:
        raise TokenRefused("The token must begin with tj1, but got another version.")
    # The signature comes first: only what a key of ours has signed is worth parsing.
    if not any(hmac.compare_digest(_sign(key, payload), given) for key in (keys.current, *keys.former)):
        raise TokenRefused("The token must be signed by this installation, but its signature is another.")
    # tokens of older releases also name an expiry, which is ignored: they, too, are good while their search lives
    return str(json.loads(content)["search"])


def _sign(key: bytes, payload: str) -> bytes:
    return hmac.digest(key, f"{_PREFIX}.{payload}".encode(), hashlib.sha256)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    """Decode a part of a token. Raises ValueError for what ``_encode`` would not write, so that a token has one spelling."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(text) from error
    if _encode(data) != text:
        raise ValueError(text)
    return data
