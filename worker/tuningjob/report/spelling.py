"""Values of parameters as text. They may be anything: reading one never raises, and shows no more than asked for."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from tuningjob.aliases import ParamValue

_LONGEST: Final = 300
_BARE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_NOT_TEXT: Final = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})  # by YAML 1.1
_LETTERS: Final = {'"': '\\"', "\\": "\\\\"}


@dataclass(frozen=True)
class Spelled:
    """A value as Python and as YAML in a manifest. ``number`` is its number, which has an order; None for all else."""

    python: str
    yaml: str
    number: float | None = None


Speller: TypeAlias = Callable[[ParamValue], Spelled]


def spell(value: ParamValue) -> Spelled:
    """A plain value as Python and as YAML; anything else as its repr, because YAML cannot say it."""
    if isinstance(value, np.generic):
        value = value.item()
    python = _repr(value)
    if value is None:
        return Spelled(python, "null")
    if isinstance(value, bool):
        return Spelled(python, python.lower())
    if isinstance(value, str):
        return Spelled(python, yaml_text(value))
    return Spelled(python, _number(python) if isinstance(value, float) else python, number_of(value))


def _number(text: str) -> str:
    """A number for YAML 1.1, which takes 1e-05 for text because it has no point."""
    return text.replace("e", ".0e") if "e" in text and "." not in text else text


def number_of(value: ParamValue) -> float | None:
    """The finite number that a value is; None for anything else, also for True and False."""
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) not in {int, float}:
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def yaml_text(text: str) -> str:
    """A string in YAML's flow style: bare if it cannot be read as anything else, else with quotes."""
    if _BARE.fullmatch(text) and text.lower() not in _NOT_TEXT:
        return text
    return '"' + "".join(_LETTERS.get(each, each) if each.isprintable() else _escaped(each) for each in text) + '"'


def _escaped(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def one_line(text: str) -> str:
    """A text from outside, on one line and without a terminal's control characters."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def _repr(value: ParamValue) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001  a user's class may do anything
        text = f"<{type(value).__name__}>"
    text = one_line(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
