"""``spec.data.query``: rows of a database."""

import re
from typing import Annotated, Final

from pydantic import Field

from tuningjob.manifest.fields import matching
from tuningjob.manifest.model import Model

_BLANK: Final = r"[ \t\r\n]"
_ORDERED: Final = f"(?i)order{_BLANK}+by{_BLANK}"
ORDERED_IN_CEL: Final = _ORDERED.replace("\\", "\\\\")
VariableName = Annotated[
    str, Field(max_length=253), matching(r"^[A-Za-z_][A-Za-z0-9_]*$", "the name of a variable of the environment")
]


class Query(Model):
    """A SELECT, and the variable of the environment that has the database's URL."""

    sql: Annotated[
        str,
        Field(max_length=16_384),
        matching(
            rf"^{_BLANK}*([Ss][Ee][Ll][Ee][Cc][Tt]|[Ww][Ii][Tt][Hh]){_BLANK}[\s\S]*$",
            "a SELECT (or WITH … SELECT)",
        ),
    ] = Field(description="A SELECT, run in a transaction that only reads, where the database has such.")
    url_from: VariableName = Field(
        description="The variable that has the database's URL, as SQLAlchemy takes it: of a Secret, in pod.env."
    )

    @property
    def is_ordered(self) -> bool:
        """Whether the query orders the rows itself."""
        return re.search(_ORDERED, self.sql) is not None
