"""URLs of files that pods fetch: of data, and of code."""

from typing import Annotated, Final

from pydantic import Field

from tuningjob.manifest.fields import matching

# An https URL does not end in /; a bucket's URL has no query, and the part before its @ is a container.
_HOST: Final = "[A-Za-z0-9][-.:A-Za-z0-9]*"
_KEY: Final = '[!"$->@-~]*[!"$-.0->@-~]'
BUCKET_URL: Final = (
    f"(s3|gs)://[a-z0-9][-._a-z0-9]*/{_KEY}"
    rf"|abfss?://[a-z0-9][-a-z0-9]*@[a-z0-9]+[.]dfs[.]core[.]windows[.]net/{_KEY}"
)
_URL: Final = f'^(https://{_HOST}/[!"$-~]*[!"$-.0-~]|{BUCKET_URL})$'
FileUrl = Annotated[
    str,
    Field(max_length=2048),
    matching(
        _URL,
        "the URL of a file: https://HOST/PATH, s3://BUCKET/NAME, gs://BUCKET/NAME or "
        "abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/NAME, without a password",
    ),
]
Sha256 = Annotated[str, Field(max_length=64), matching(r"^[0-9a-f]{64}$", "64 digits and letters a to f")]


def shown_url(url: str) -> str:
    """The URL without its query, which may be a signature."""
    return url.split("?", 1)[0]
