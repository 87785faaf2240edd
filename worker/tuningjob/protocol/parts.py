"""The parts of a search's code as they travel: a name and a mark each, all of them bounded."""

from typing import Annotated, Final

from pydantic import Field

MAX_PARTS: Final = 200
MAX_NAME: Final = 200
MAX_MARK: Final = 160

Parts = Annotated[
    dict[Annotated[str, Field(max_length=MAX_NAME)], Annotated[str, Field(max_length=MAX_MARK)]],
    Field(max_length=MAX_PARTS),
]
