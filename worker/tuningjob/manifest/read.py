"""``spec.data.read``: how a CSV file is written, in the words of ``pandas.read_csv``."""

from typing import Annotated, ClassVar, Final, Literal, get_args

from pydantic import Field, WithJsonSchema

from tuningjob.manifest.fields import ColumnName, matching
from tuningjob.manifest.model import Constraint, Model, cel_rules

Dtype = Literal[
    "bool", "boolean", "category", "float32", "float64", "Float32", "Float64", "int8", "int16", "int32", "int64", "Int8", "Int16",
    "Int32", "Int64", "object", "str", "string", "uint8", "uint16", "uint32", "uint64", "UInt8", "UInt16", "UInt32", "UInt64",
]  # fmt: skip
WHITESPACE: Final = r"\s+"
_MOST_COLUMNS: Final = 1_000
_ONE: Final = r"[\t !-/:-@\[-`{-~]"
_Sign = Annotated[
    str, Field(max_length=1), matching(f"^{_ONE}$", "one character: a space, a tab, or a punctuation mark of ASCII")
]
_Delimiter = Annotated[
    str,
    Field(max_length=3),
    matching(rf"^({_ONE}|\\s\+)$", r"one character (a space, a tab, or a punctuation mark of ASCII), or \s+"),
]
_Columns = Annotated[list[ColumnName], Field(min_length=1, max_length=_MOST_COLUMNS)]
_Words = Annotated[list[Annotated[str, Field(max_length=253)]], Field(min_length=1, max_length=_MOST_COLUMNS)]
_Dtypes = Annotated[
    dict[ColumnName, Dtype],
    Field(min_length=1, max_length=_MOST_COLUMNS),
    WithJsonSchema(
        {
            "type": "object",
            "minProperties": 1,
            "maxProperties": _MOST_COLUMNS,
            "additionalProperties": {"type": "string", "enum": list(get_args(Dtype))},
            **cel_rules(
                ("self.all(key, key.size() >= 1 && key.size() <= 253)", "must have columns' names as its keys")
            ),
        }
    ),
]


def _signs_differ(read: "ReadOptions") -> bool:
    signs = [read.delimiter, read.decimal, read.quote_char]
    return len(set(signs)) == 3 and not {read.thousands, read.comment} & {*signs} and read.escape_char not in signs[:2]


class ReadOptions(Model):
    """How a CSV file is written. Each is an argument of ``pandas.read_csv``, whose defaults hold."""

    constraints: ClassVar[tuple[Constraint, ...]] = (
        Constraint(
            "self.delimiter != self.decimal && self.delimiter != self.quoteChar && self.decimal != self.quoteChar && "
            "(!has(self.thousands) || !(self.thousands in [self.delimiter, self.decimal, self.quoteChar])) && "
            "(!has(self.comment) || !(self.comment in [self.delimiter, self.decimal, self.quoteChar])) && "
            "(!has(self.escapeChar) || !(self.escapeChar in [self.delimiter, self.decimal]))",
            _signs_differ,
            "with another character for each of delimiter, decimal, quoteChar, thousands, escapeChar and comment",
            "A file with decimal: ',' mostly has delimiter: ';'.",
        ),
        Constraint(
            "self.header || has(self.names)",
            lambda read: read.header or read.names is not None,
            "with names beside header: false",
            "List the columns' names in the file's order.",
        ),
    )

    delimiter: _Delimiter = Field(
        default=",", description=r"What separates fields (pandas' sep): one character, or \s+ for any run of blanks."
    )
    decimal: _Sign = Field(default=".", description="What stands before the decimals of a number.")
    thousands: _Sign | None = Field(default=None, description="What groups the digits of a number.")
    encoding: (
        Annotated[
            str,
            Field(max_length=40),
            matching(r"^[A-Za-z0-9][-_.A-Za-z0-9]*$", "an encoding that Python knows, such as latin-1"),
        ]
        | None
    ) = Field(
        default=None, description="The encoding of the text, such as latin-1, cp1252 or utf-16; UTF-8 by default."
    )
    quote_char: _Sign = Field(default='"', description="What stands around a field that has a delimiter in it.")
    quoting: Literal["minimal", "none"] = Field(
        default="minimal", description="none: a quoteChar is text like any other."
    )
    double_quote: bool = Field(default=True, description="Two quoteChars within a quoted field are one.")
    escape_char: _Sign | None = Field(default=None, description="What takes the next character its meaning.")
    comment: _Sign | None = Field(default=None, description="What begins a comment, to the end of the line.")
    skip_initial_space: bool = Field(default=False, description="Blanks after a delimiter are left out.")
    skip_rows: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=0, description="Lines that are left out before the header."
    )
    header: bool = Field(
        default=True, description="false: the first line is data, and the columns' names are in names."
    )
    names: Annotated[list[ColumnName], Field(min_length=1, max_length=_MOST_COLUMNS)] | None = Field(
        default=None, description="The columns' names, instead of those of the file."
    )
    na_values: _Words | None = Field(
        default=None, description="What stands for a missing value, beside what pandas takes for it."
    )
    keep_default_na: bool = Field(
        default=True,
        description="false: what pandas takes for missing (NA, None, null, nan, …) is text like any other.",
    )
    true_values: _Words | None = Field(default=None, description="What stands for true in a column of such words.")
    false_values: _Words | None = Field(default=None, description="What stands for false in a column of such words.")
    parse_dates: _Columns | None = Field(default=None, description="The columns that are dates.")
    date_format: Annotated[str, Field(min_length=1, max_length=63)] | None = Field(
        default=None, description="How they are written, such as %d.%m.%Y; as the first of them by default."
    )
    day_first: bool = Field(default=False, description="10/11/2025 is in November.")
    dtypes: _Dtypes | None = Field(default=None, description="The types of columns, such as {zip: str, age: Int64}.")
    categories: _Columns | None = Field(
        default=None, description="The columns that are categories: as dtypes: {…: category}."
    )
    index_column: ColumnName | None = Field(
        default=None, description="The column that names the rows (pandas' index_col): it is no feature."
    )
